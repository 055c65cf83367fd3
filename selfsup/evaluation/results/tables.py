"""Markdown tables of measured and of published numbers, never in one table."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import DataError, did_you_mean
from .record import read_result

# protocol -> what to call it, and the numbers that its table shows: a regular expression of names
PROTOCOLS = (
    ('knn', 'kNN', r'knn_\d+'),
    ('linear', 'linear', r'head\d+_top1_(last|best)'),
    ('linear_cached', 'linear, cached features', r'head\d+_top[15]'),
    ('semi', 'semi-supervised', r'head\d+_top1_(last|best)'),
    ('finetune', 'fine-tuning', r'(ema_)?head\d+_top1_(last|best)'),
    ('voc07_svm', 'VOC07 linear SVM', r'.*mAP.*'),
    ('voc07_lowshot', 'VOC07 low-shot SVM', r'.*'),
    ('detection', 'detection', r'.*AP.*'),
)
RANDOM = 'random'
NUMBERS_SHOWN = 10


class Measured(NamedTuple):
    """One result file.

    Attributes:
        path: of the file, below the folder of results.
        result: what it holds.
    """

    path: Path
    result: dict[str, Any]

    @property
    def weights(self) -> str:
        """Name of the weights, 'random' for none."""
        return Path(self.result['weights']['path']).name if self.result['weights'] else RANDOM

    @property
    def config(self) -> str:
        """Path of the config; '' for none."""
        return self.result['config']['path'] if self.result['config'] else ''

    @property
    def setting(self) -> str:
        """The config without `configs/` and `.py`, with what the command line changed."""
        settings = self.result['settings']
        return ' '.join(
            [
                self.config.removeprefix('configs/').removesuffix('.py'),
                *settings.get('cfg_options', []),
                *filter(None, [settings.get('dataset_config')]),
            ]
        )


def read_results(folder: str | os.PathLike, skip_others: bool = False) -> list[Measured]:
    """All result files below `folder`, by path.

    Args:
        folder: searched recursively for `*.json`.
        skip_others: leave out JSON files that are no results, as logs in work dirs are; otherwise they are an error.

    Raises:
        DataError: there is no result, or a file is none and not `skip_others`.
    """
    measured = []
    for path in sorted(Path(folder).rglob('*.json')):
        try:
            measured.append(Measured(path.relative_to(folder), read_result(path)))
        except DataError:
            if not skip_others:
                raise
    if not measured:
        raise DataError(f'{folder} holds no results (*.json).')
    return measured


def read_published(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Tables of published numbers: `id`, `title`, `source`, `columns`, `rows`.

    Raises:
        DataError: the file cannot be read, a table lacks one of these, or a row does not fit its columns.
    """
    try:
        tables = json.loads(Path(path).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f'{path} cannot be read: {error}.') from None
    for table in tables:
        missing = [key for key in ('id', 'title', 'source', 'columns', 'rows') if not table.get(key)]
        wrong = [row for row in table.get('rows', []) if len(row) != len(table.get('columns', []))]
        if missing or wrong:
            raise DataError(
                f'{path}: table {table.get("id")!r} lacks {missing}'
                if missing
                else f'{path}: table {table["id"]!r} has {len(table["columns"])} columns, but a row {wrong[0]}.'
            )
    return tables


def measured_tables(results: Sequence[Measured]) -> str:
    """A table for each protocol, a row for each result."""
    known = {name: (title, pattern) for name, title, pattern in PROTOCOLS}
    parts = []
    for name in sorted(
        {m.result['protocol'] for m in results}, key=lambda n: (list(known).index(n) if n in known else len(known), n)
    ):
        title, pattern = known.get(name, (name, r'.*'))
        mine = [m for m in results if m.result['protocol'] == name]
        shown = [n for n in dict.fromkeys(n for m in mine for n in m.result['numbers']) if re.fullmatch(pattern, n)][
            :NUMBERS_SHOWN
        ]
        header = ['config', 'weights', *shown, 'seed', 'seconds', 'file']
        rows = [
            [
                m.setting,
                m.weights,
                *(_number(m.result['numbers'].get(n)) for n in shown),
                str(m.result['seed']),
                _number(m.result['seconds'], 0),
                m.path.as_posix(),
            ]
            for m in mine
        ]
        parts.append(f'### {title[0].upper()}{title[1:]}\n\n{markdown(header, rows)}')
    return '\n\n'.join(parts)


class Pair(NamedTuple):
    """One number from random and from pretrained weights, with the same config.

    Attributes:
        title: of the protocol.
        config: without `configs/` and `.py`, with its options.
        weights: the pretrained ones.
        name: of the number.
        random: its value from random weights, in percent.
        pretrained: its value from the others.
    """

    title: str
    config: str
    weights: str
    name: str
    random: float
    pretrained: float


def comparison(results: Sequence[Measured]) -> str:
    """Table of `pairs`.

    Raises:
        DataError: there are none.
    """
    rows = [
        [
            p.title,
            p.config,
            p.weights,
            p.name,
            f'{p.random:.1f}',
            f'{p.pretrained:.1f}',
            f'{p.pretrained - p.random:+.1f}',
        ]
        for p in pairs(results)
    ]
    if not rows:
        raise DataError('No protocol has a result from random and one from other weights.')
    return markdown(['protocol', 'config', 'weights', 'number', 'random weights', 'pretrained', 'gain'], rows)


def pairs(results: Sequence[Measured]) -> list[Pair]:
    """Pretrained against random weights, for each protocol and config (with its options) that has both.

    The number is the first that the protocol's table shows, of the last epoch where training is part of it.
    """
    matched = []
    for protocol, title, pattern in PROTOCOLS:
        mine = [m for m in results if m.result['protocol'] == protocol]
        for setting in dict.fromkeys(m.setting for m in mine):
            same = [m for m in mine if m.setting == setting]
            random = next((m for m in same if m.weights == RANDOM), None)
            if random is None:
                continue
            for other in (m for m in same if m.weights != RANDOM):
                values, base = other.result['numbers'], random.result['numbers']
                name = next(
                    (n for n in values if n in base and re.fullmatch(pattern, n) and not n.endswith('_best')), None
                )
                if name and values[name] is not None and base[name] is not None:
                    matched.append(Pair(title, setting, other.weights, name, base[name], values[name]))
    return matched


def published_tables(tables: Sequence[dict[str, Any]]) -> str:
    """Each table under its title, marked as published, with its source."""
    parts = []
    for table in tables:
        rows = [[cell if isinstance(cell, str) else _plain(cell) for cell in row] for row in table['rows']]
        parts.append(
            f'### Published: {table["title"]}\n\nSource: {table["source"]}. Not measured with this code.\n\n'
            f'{markdown(table["columns"], rows)}'
        )
    return '\n\n'.join(parts)


def replace_block(text: str, name: str, content: str) -> str:
    """`text` with what stands between `<!-- report: NAME -->` and `<!-- end of report -->` replaced.

    Raises:
        DataError: the comments are not there.
    """
    start, end = f'<!-- report: {name} -->', '<!-- end of report -->'
    before, opened, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        raise DataError(
            f"The page has no '{start}' ... '{end}'.{did_you_mean(name, re.findall(r'<!-- report: (.+?) -->', text))}"
        )
    return f'{before}{start}\n{content}\n{end}{after}'


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ['| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |' for cells in (header, *rows)]
    return '\n'.join([lines[0], '|' + '---|' * len(header), *lines[1:]])


def _plain(value: float | None) -> str:
    return '' if value is None else f'{value:g}'


def _number(value: float | None, digits: int = 2) -> str:
    return '' if value is None else f'{value:.{digits}f}'
