"""Read lists of images as people write them: `path`, `path label`, CSV; UTF-8, UTF-16; with header lines and comments.

What a line means is decided by the files that are there: the reading that finds an image on disk is the one that holds for the whole list.
"""

from __future__ import annotations

import codecs
import csv
import os
import re
from collections.abc import Callable, Sequence

import numpy as np

from ...errors import DataError

WHITESPACE = ''  # `path label`, told apart by the last run of spaces or tabs
SEPARATORS = (',', ';', '\t', '|')
LARGEST_LABEL = 2**31 - 1  # a number above that is an identifier, and no class number
LINES_TRIED = 8
HEADER = frozenset(
    (
        'path',
        'paths',
        'file',
        'files',
        'filename',
        'file_name',
        'filepath',
        'file_path',
        'name',
        'image',
        'images',
        'img',
        'image_path',
        'img_path',
        'image_name',
        'label',
        'labels',
        'class',
        'class_id',
        'target',
        'category',
        'y',
        'id',
        'label_id',
        'gt_label',
        'class_index',
    )
)
MARKS = (
    (codecs.BOM_UTF8, 'utf-8'),
    (codecs.BOM_UTF32_LE, 'utf-32'),
    (codecs.BOM_UTF32_BE, 'utf-32'),
    (codecs.BOM_UTF16_LE, 'utf-16'),
    (codecs.BOM_UTF16_BE, 'utf-16'),
)  # UTF-32 before UTF-16: its mark begins with the other's
FORMAT = "Write one 'path' or 'path label' per line"


Lines = Sequence[tuple[int, str]]  # number from 1, text


def split_label(line: str) -> tuple[str, str] | None:
    """'a b.jpg 3' -> ('a b.jpg', '3'); None for a line that does not end in a number after a name."""
    parts = line.rsplit(maxsplit=1)
    return (parts[0], parts[1]) if len(parts) == 2 and whole(parts[1]) is not None else None


def whole(text: str) -> int | None:
    """'3', '+3', '-1' and '3.0' as whole numbers; None for anything else."""
    if len(text) >= 100:
        return None
    if text.isdecimal():  # a list has a million of these, so no pattern
        return int(text)
    number = re.fullmatch(r'([+-]?\d+)(?:\.0*)?', text.strip())
    return int(number[1]) if number else None


def read_list(list_file: str, exists: Callable[[str], bool]) -> tuple[list[str], list[int] | None]:
    """Paths and labels of a list, all of whose lines have a label or none has.

    A path may hold spaces. `photo 12` can be read both ways: it is a labelled `photo` unless a file `photo 12` exists. Columns may be
    separated by commas, semicolons, tabs or bars too, quoted as in CSV. Left out are empty lines, lines that begin with `#`, and a first
    line of column names (`path,label`). (Only the lines that need it are looked up on disk.)

    Args:
        list_file: text file: UTF-8, or UTF-16 or UTF-32 with a byte order mark.
        exists: path -> True when there is such a file.

    Returns:
        Paths, and their labels or None.

    Raises:
        DataError: no such file, no text, no lines, a label that is no class number, or a line of another kind than the first.
    """
    lines: Lines = [
        (number, line)
        for number, line in _lines(list_file)
        if not (line.startswith('#') and not _is_path(line, exists))
    ]
    if not lines:
        raise DataError(f"list_file='{list_file}' has no lines. {FORMAT}.")
    separator = _separator([line for _, line in lines], exists)
    if separator == WHITESPACE:
        if len(lines) > 1 and _is_header(lines[0][1].split(), exists):
            lines = lines[1:]
        names, labels = _by_whitespace(lines, list_file, exists)
    else:
        lines, names, labels = _by_columns(lines, separator, list_file, exists)
    return names, None if labels is None else _class_numbers(lines, labels, list_file)


def read_text(path: str, where: str, wanted: str) -> str:
    """Text of a file that a person or a program wrote: UTF-8, or UTF-16 or UTF-32 with a byte order mark.

    Args:
        path: of the file.
        where: what to call it, for messages.
        wanted: what the file should be, for messages.

    Raises:
        DataError: no such file, or no text.
    """
    try:
        with open(path, 'rb') as file:
            content = file.read()
    except OSError as error:
        raise DataError(f'{where} cannot be read: {error.strerror}. Give {wanted}.') from None
    mark, encoding = next(((mark, encoding) for mark, encoding in MARKS if content.startswith(mark)), (b'', 'utf-8'))
    if encoding == 'utf-8':
        text = content[len(mark) :].decode(errors='surrogateescape')  # a file name may hold any byte
    else:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError as error:
            raise DataError(
                f'{where} begins like {encoding.upper()} but is none: {error.reason}. Save it as UTF-8.'
            ) from None
    if '\0' in text:
        raise DataError(
            f'{where} is no text in UTF-8: it holds bytes of value 0, as UTF-16 without a byte order mark and packed files do. Save '
            f'it as UTF-8. Give {wanted}.'
        )
    return text


def _lines(list_file: str) -> list[tuple[int, str]]:
    """Numbered lines that are not empty, without the spaces around them."""
    text = read_text(list_file, f"list_file='{list_file}'", "a text file with one 'path' or 'path label' per line")
    return [(number, line.strip()) for number, line in enumerate(re.split('\r\n|\r|\n', text), 1) if line.strip()]


def _is_path(line: str, exists: Callable[[str], bool]) -> bool:
    """True when there is a file of this line's name, with or without a label."""
    pair = split_label(line)
    return exists(line) or (pair is not None and exists(pair[0]))


def _separator(lines: Sequence[str], exists: Callable[[str], bool]) -> str:
    """What separates columns: the reading under which most of some lines name a file; of none, what all of them have before a number."""
    tried = [lines[int(i)] for i in np.unique(np.linspace(0, len(lines) - 1, LINES_TRIED).astype(int))]
    readings = [reading for line in tried if (reading := _reading(line, exists)) is not None]
    if readings:
        return max(dict.fromkeys([WHITESPACE, *readings]), key=readings.count)
    for separator in (',', ';', '|'):  # the first line may be a header
        if all(separator in line and whole(line.rpartition(separator)[2]) is not None for line in tried[1:] or tried):
            return separator
    return WHITESPACE


def _reading(line: str, exists: Callable[[str], bool]) -> str | None:
    """The separator with which a line names a file; None where it names none."""
    if _is_path(line, exists):
        return WHITESPACE
    for separator in SEPARATORS:
        if (separator in line or line.startswith('"')) and any(
            column and exists(column) for column in _columns(line, separator)
        ):
            return separator
    pair = split_label(line)
    return ' ' if line.startswith('"') and pair is not None and exists(pair[0].strip('"')) else None


def _columns(line: str, separator: str) -> list[str]:
    try:
        return [column.strip() for column in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]
    except csv.Error:  # longer than any path
        return [line]


def _is_header(words: Sequence[str], exists: Callable[[str], bool]) -> bool:
    """True for names of columns, of which no file has the name."""
    known = 0 < len(words) and all(word.strip('"').lower() in HEADER for word in words)
    return known and not exists(' '.join(words)) and not exists(words[0])


def _by_whitespace(lines: Lines, list_file: str, exists: Callable[[str], bool]) -> tuple[list[str], list[str] | None]:
    """Paths, and the text of their labels or None."""
    pairs = [split_label(line) for _, line in lines]
    first_number, first_line = lines[0]
    if pairs[0] is None or exists(first_line):
        for (number, line), pair in zip(lines, pairs, strict=True):
            if pair is not None and not exists(line):
                raise DataError(
                    f"{list_file}:{number}: '{line}' ends in a label, but line {first_number} ('{first_line}') has none. "
                    'Label all lines or none.'
                )
        return [line for _, line in lines], None
    labelled = [pair for pair in pairs if pair is not None]
    if len(labelled) < len(pairs):
        number, line = lines[pairs.index(None)]
        raise DataError(
            f"{list_file}:{number}: '{line}' has no label, but line {first_number} ('{first_line}') has one. "
            'Label all lines or none.'
        )
    return [name for name, _ in labelled], [label for _, label in labelled]


def _by_columns(
    lines: Lines, separator: str, list_file: str, exists: Callable[[str], bool]
) -> tuple[Lines, list[str], list[str] | None]:
    """Lines of one column (a path) or two (a path and a label), without a header; their paths, and the text of their labels or None."""
    try:
        table = list(csv.reader([line for _, line in lines], delimiter=separator, skipinitialspace=True))
    except csv.Error:
        table = []
    if len(table) != len(lines):  # a quote that is not closed goes on in the next line
        table = [_columns(line, separator) for _, line in lines]
    if len(table) > 1:
        first = _columns(lines[0][1], separator)
        above_labels = (
            len(first) == 2 and whole(first[1]) is None and not exists(first[0]) and whole(table[1][-1]) is not None
        )
        if above_labels or _is_header(first, exists):
            table, lines = table[1:], lines[1:]
    width = len(table[0])
    for (number, line), columns in zip(lines, table, strict=True):
        if width > 2:
            raise DataError(
                f"{list_file}:{number}: '{line}' has {width} columns, separated by '{separator}'. {FORMAT}, or "
                f"'path{separator}label'."
            )
        if len(columns) != width or not columns[0]:
            raise DataError(
                f"{list_file}:{number}: '{line}' has {len(columns)} columns, but line {lines[0][0]} has {width}. Label all "
                'lines or none.'
            )
    return (
        lines,
        [columns[0].strip() for columns in table],
        [columns[1].strip() for columns in table] if width == 2 else None,
    )


def _class_numbers(lines: Lines, texts: Sequence[str], list_file: str) -> list[int]:
    labels = []
    for (number, line), text in zip(lines, texts, strict=True):
        label = whole(text)
        if label is None or not 0 <= label <= LARGEST_LABEL:
            where = f"{list_file}:{number}: '{line}'"
            if label is None:
                raise DataError(f"{where} has the label '{text}', which is no whole number. Number the classes from 0.")
            if label < 0:
                raise DataError(
                    f'{where} has a negative label. Number the classes from 0. (Where -1 stands for no label, leave out the '
                    'labels.)'
                )
            raise DataError(
                f'{where} has the label {label}, which is too large for a class number. Number the classes from 0.'
            )
        labels.append(label)
    return labels


def label_warnings(labels: np.ndarray) -> list[str]:
    """Sentences about class numbers that were hardly meant: from 1, or with gaps.

    Args:
        labels: int64 (N,), >= 0.
    """
    present = np.unique(labels)
    top, missing = int(present[-1]), int(present[-1]) + 1 - len(present)
    if not missing:
        return []
    if missing == 1 and present[0] == 1:
        return [
            f'its labels go from 1 to {top} and none is 0, as if classes were counted from 1. They are counted from 0 here, so there '
            f'are {top + 1} classes, one of them empty; subtract 1 from each label if that is not meant.'
        ]
    gaps = np.setdiff1d(np.arange(min(top, 10_000)), present)[:5].tolist()
    return [
        f'its labels go up to {top}, but only {len(present)} of the {top + 1} class numbers from 0 have an image; there is none of '
        f'class {", ".join(map(str, gaps))}{", ..." if missing > len(gaps) else ""}. Number the classes without gaps if that is not '
        'meant.'
    ]


def why_missing(root: str, name: str) -> str:
    """What may be wrong with a path of a list of which there is no file; '' where nothing is known."""
    path = os.path.join(root, name)
    if os.path.isdir(path):
        return f"'{path}' is a folder: name images, or use ImageFolder"
    if name.startswith(('/', '\\')) and os.path.isfile(root + name.replace('\\', '/')):
        return f"'{name}' begins with a slash: write it without, so that it starts from root"
    if '\\' in name and os.path.isfile(os.path.join(root, name.replace('\\', '/').lstrip('/'))):
        return f"'{name}' is written with backslashes: write '{name.replace(chr(92), '/')}'"
    if os.path.isfile(name):
        return f"'{name}' is there when seen from the working folder: set root='.', or leave '{root}' out of the names"
    return _word_by_word(root, name) or _similar(root, name)


def _word_by_word(root: str, name: str) -> str:
    """A part of a name that is a file: what is around it belongs elsewhere."""
    words = name.split()
    for begin, end in ((0, len(words) - 1), (1, len(words)), (0, 1), (len(words) - 1, len(words))):
        part = ' '.join(words[begin:end])
        if part and part != name and os.path.isfile(os.path.join(root, part)):
            rest = ' '.join(words[:begin] + words[end:])
            kind = 'the label stands first' if begin else 'there is more than one number'
            kind = kind if whole(rest.split()[0]) is not None else f"'{rest}' is no class number"
            return f"there is '{part}', but {kind}. {FORMAT}, with classes numbered from 0"
    return ''


def _similar(root: str, name: str) -> str:
    """A file that differs in its ending or in case alone."""
    folder = root
    spelt: list[str] = []  # the parts of the name as they are on the disk
    for part in name.split('/'):
        try:
            beside = sorted(os.listdir(folder))
        except OSError:
            return ''
        same = [other for other in beside if other == part] or [
            other for other in beside if other.lower() == part.lower()
        ]
        if not same:
            stem = os.path.splitext(part)[0]
            for other in beside if part == name.split('/')[-1] else ():
                if os.path.splitext(other)[0] in (part, stem):
                    kind = 'lack their ending' if os.path.splitext(other)[0] == part else 'have another ending'
                    return f"there is '{'/'.join([*spelt, other])}': the names {kind}"
            return ''
        spelt.append(same[0])
        folder = os.path.join(folder, same[0])
    return f"there is '{'/'.join(spelt)}': the names differ in upper and lower case" if os.path.isfile(folder) else ''
