"""Which column of a table holds the images, and which the labels."""

from __future__ import annotations

from collections.abc import Sequence

from ....errors import DataError, did_you_mean

# Names that people give to columns, likeliest first; they decide where several columns could be meant.
IMAGES = ('image', 'img', 'images', 'jpg', 'jpeg', 'png', 'webp', 'picture', 'photo', 'image_bytes', 'bytes', 'content')
PATHS = (
    'path',
    'file',
    'filename',
    'file_name',
    'filepath',
    'file_path',
    'image',
    'image_path',
    'img_path',
    'image_name',
    'img',
    'name',
    'image_id',
)
LABELS = (
    'label',
    'labels',
    'class',
    'target',
    'category',
    'class_id',
    'label_id',
    'class_name',
    'gt_label',
    'cls',
    'y',
)


def named_column(columns: Sequence[str], name: str, argument: str, where: str) -> str:
    """A column that the user named.

    Args:
        columns: those there are.
        name: the one that is meant.
        argument: that names it.
        where: the table, for the message.

    Raises:
        DataError: there is no such column.
    """
    if name in columns:
        return name
    raise DataError(
        f"{where} has no column {argument}='{name}'; it has {', '.join(columns) or 'none'}.{did_you_mean(name, columns)}"
    )


def likely_column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The column that the first of `names` is, in whatever case; the only column, where it is one alone; else None."""
    lower = {column.strip().lower(): column for column in reversed(columns)}
    return next((lower[name] for name in names if name in lower), columns[0] if len(columns) == 1 else None)


def likely_label(columns: Sequence[str]) -> str | None:
    """The column that is called as labels are; None where there is none."""
    lower = {column.strip().lower(): column for column in reversed(columns)}
    return next((lower[name] for name in LABELS if name in lower), None)
