"""What differs between the run that wrote a checkpoint and the one that goes on from it, and which value counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...errors import CheckpointError

FROM_CONFIG, FROM_CHECKPOINT, REFUSED = 'from the config', 'from the checkpoint', 'refused'
OPTION = '--allow-changed'
ELASTIC = '--elastic'
# Entries of the fingerprint that may differ with it.
RELAXED = ('world_size', 'batch_size', 'iters_per_epoch', 'update_interval')
DATA = 'data'
LIBRARIES = 'image_libraries'  # what decodes and resizes: of the machine, not of the config
LENGTH = ('total_epochs', 'total_iters')


@dataclass(frozen=True)
class Row:
    """One difference.

    Attributes:
        key: name of the setting, 'data', or 'image_libraries.NAME'.
        old, new: as text.
        counts: FROM_CONFIG, FROM_CHECKPOINT or REFUSED.
        remedy: what to do, where it is refused.
        note: more about it.
    """

    key: str
    old: str
    new: str
    counts: str
    remedy: str = ''
    note: str = ''


@dataclass
class Changes:
    """What differs between the run that wrote a checkpoint and the one that goes on from it.

    Attributes:
        rows: differences that matter.
        harmless: keys of those that do not.
        notes: what could not be compared, and what else is to be said.
        before: changes that earlier resumes of the run allowed, as `record` gave them.
        steps_per_epoch: optimizer steps of an epoch before and now, where processes or batch differ.
    """

    rows: list[Row] = field(default_factory=list)
    harmless: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    before: list[dict] = field(default_factory=list)
    steps_per_epoch: tuple[int, int] | None = None

    def counts_anew(self, key: str) -> bool:
        """True where `key`, or something below it, has changed and the value of the config counts."""
        return any(row.counts == FROM_CONFIG and covers(key, row.key) for row in self.rows)

    def mentions(self, key: str) -> bool:
        """True where `key`, or something below it, has changed: allowed, or about to be refused."""
        return any(covers(key, row.key) for row in self.rows)

    @property
    def longer_or_shorter(self) -> bool:
        return any(row.key in LENGTH for row in self.rows)

    def steps_now(self, steps: int) -> int:
        """As many optimizer steps as the run that goes on would have taken to where the other one stood after `steps`."""
        if self.steps_per_epoch is None:
            return steps
        before, now = self.steps_per_epoch
        return round(steps * now / before)

    def problems(self) -> list[str]:
        """One text per refused difference."""
        return [
            f'{row.key} was {row.old} and is {row.new} ({row.remedy})' for row in self.rows if row.counts == REFUSED
        ]

    def check(self, path: str) -> None:
        """Refuse what is refused.

        Raises:
            CheckpointError: naming every difference and the option that allows it.
        """
        refuse(path, self.problems())

    def table(self) -> list[str]:
        """Lines to print; none where nothing differs."""
        cells = [
            ('setting', 'checkpoint', 'config', 'what counts'),
            *((row.key, row.old, row.new, row.counts + (f': {row.note}' if row.note else '')) for row in self.rows),
        ]
        widths = [max(len(row[column]) for row in cells) for column in range(3)]
        lines = [
            '  '.join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]) for row in cells
        ]
        harmless = [f'Changed without effect on the weights: {", ".join(self.harmless)}.'] if self.harmless else []
        return [*(lines if self.rows else ()), *harmless, *self.notes]

    def record(self, iteration: int) -> list[dict]:
        """For the checkpoint's meta: every change of the run that was allowed, with the iteration from which on it counts."""
        return [
            *self.before,
            *(
                {'iter': iteration, 'key': row.key, 'old': row.old, 'new': row.new}
                for row in self.rows
                if row.counts == FROM_CONFIG
            ),
        ]


def refuse(path: str, problems: Sequence[str]) -> None:
    """Raise a CheckpointError with all `problems`, where there are any."""
    if problems:
        raise CheckpointError(
            f'Cannot resume {path} exactly: {"; ".join(problems)}. To start a new run from its weights instead, '
            'use load_from.'
        )


def covers(key: str, other: str) -> bool:
    return other == key or other.startswith(f'{key}.')
