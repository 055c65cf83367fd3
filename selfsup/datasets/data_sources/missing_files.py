"""Look for the files that a list or table names, before hours of training find that they are not there."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

import numpy as np

from ...errors import DataError, SelfSupWarning, listed
from ..robust import MAX_BAD_SHARE, printable
from .base import FileSource

# How many files are looked for: all of a shorter list, evenly spaced ones of a longer; 10 ms on a local disk, a second on a slow network.
FILES_TRIED = 1000
ENOUGH_TO_STOP = 0.05  # share of missing files among those of a longer list: its own 1 % cannot be told from a sample
PATHS_SHOWN = 20


def look_at_files(source: FileSource, named: str, why: Callable[[str], str]) -> None:
    """A wrong `root` or a list of other files shows now, not one by one in hours of training.

    Args:
        source: of the files.
        named: the list as the user gave it, such as "list_file='a.txt'", for messages.
        why: name of a file that is missing -> what may be the reason, or ''.

    Raises:
        DataError: more than 1 % of the files are missing (of more than 1,000: 5 % of 1,000).
    """
    tried = np.unique(np.linspace(0, len(source) - 1, FILES_TRIED).astype(int)).tolist()
    missing = [index for index in tried if not os.path.isfile(source.describe(index))]
    if not missing:
        return
    first, all_of_them = source.describe(missing[0]), len(tried) == len(source)
    reason = why(source.name(missing[0]))
    hint = (
        f' {reason[0].upper()}{reason[1:]}.'
        if reason
        else ' Point root to the folder that the names in the list start from.'
    )
    if len(missing) == len(tried):
        raise DataError(f"root='{source.root}' does not hold the images of {named}: there is no '{first}'.{hint}")
    hint = hint if reason else ''
    paths = listed([printable(source.describe(index)) for index in missing], PATHS_SHOWN)
    looked = f'{named}: {len(missing)} of {"its" if all_of_them else "the"} {len(tried):,} files' + (
        '' if all_of_them else f' that were looked at (the list has {len(source):,})'
    )
    if len(missing) > (MAX_BAD_SHARE if all_of_them else ENOUGH_TO_STOP) * len(tried):
        raise DataError(f'{looked} are missing: {paths}.{hint} Fetch them, or take them out of the list.')
    warnings.warn(
        f'{looked} {"is" if len(missing) == 1 else "are"} missing and will be skipped: {paths}.{hint}',
        SelfSupWarning,
        stacklevel=4,
    )
