"""Data sources that are written as one string, in a config or as an option of a tool, become the dicts that they stand for.

What a string means is known to the data room (`DATA_SOURCES.from_text`); here is only where such strings stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ConfigError
from ..registry import DATA_SOURCES
from .locate import Place
from .report import Path, Report

SLOT = 'data_source'


def open_addresses(cfg: dict[str, Any], report: Report) -> None:
    """Put the dict in the place of every string that stands where a data source is named, in `cfg` itself.

    Args:
        cfg: merged top-level config.
        report: takes the strings that cannot be read; they stay.
    """
    for path, owner in _owners((), cfg):
        if isinstance(owner[SLOT], str):
            try:
                owner[SLOT] = DATA_SOURCES.from_text(owner[SLOT])
            except ConfigError as error:
                report.add((*path, SLOT), f'cannot be read: {error}')
                report.refused.add((*path, SLOT))


def _owners(path: Path, value: Any) -> Iterator[tuple[Path, dict]]:
    """(path, dict) of every dict that names a data source."""
    if isinstance(value, dict):
        if SLOT in value:
            yield path, value
        for key, inner in value.items():
            yield from _owners((*path, str(key)), inner)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _owners((*path, str(number)), inner)


def use_data(cfg: dict[str, Any], data: Mapping[tuple[str, str], str], places: dict[str, Place]) -> list[str]:
    """Let data sets read other images: `--data ADDRESS` of a tool.

    What clusters the training images reads those of training.

    Args:
        cfg: merged top-level config; changed.
        data: (option, split) -> address, such as ('--data', 'train').
        places: where each path was written; changed likewise.

    Returns:
        A line per option that cannot be followed.
    """
    problems = []
    for (option, split), address in data.items():
        path, dataset = _data_set(cfg, split)
        if SLOT not in dataset:
            what = f'{".".join(path)} is made of several data sets' if 'datasets' in dataset else 'there is none'
            problems.append(
                f"{option} '{address}' takes the place of the {SLOT} of data.{split}, but {what}: write it into the config."
            )
            continue
        before = dataset[SLOT]
        targets = [(path, dataset)]
        if split == 'train':
            targets += [
                (at, owner)
                for at, owner in _owners((), cfg)
                if 'extractor' in at and owner is not dataset and owner[SLOT] == before
            ]
        for at, owner in targets:
            owner[SLOT] = address
            here = '.'.join((*at, SLOT))
            for below in [place for place in places if place.startswith(f'{here}.')]:
                del places[below]
            places[here] = (option, 0)
    return problems


def _data_set(cfg: dict[str, Any], split: str) -> tuple[Path, dict]:
    """Path of the data set of a split that names a data source, inside of those that repeat it; and the data set, {} for none."""
    places: tuple[Path, ...] = (('data', split), (f'{split}_dataloader', 'dataset'))
    for path in places:
        value: Any = cfg
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        while isinstance(value, dict) and SLOT not in value and isinstance(value.get('dataset'), dict):
            path, value = (*path, 'dataset'), value['dataset']
        if isinstance(value, dict):
            return path, value
    return ('data', split), {}
