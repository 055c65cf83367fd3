"""What happens to a run, and when: drawn from a seed."""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass

MOMENTS = {'start': 0.15, 'iteration': 0.35, 'saving': 0.2, 'epoch': 0.15, 'stopping': 0.15}  # and how often each
STOPS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
PREEMPTED = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)  # as batch systems send them, one after the other
LAUNCHED = 0.15  # share of starts through the real launchers, which import everything anew


@dataclass(frozen=True)
class Interruption:
    """One interruption of one start.

    Attributes:
        moment: a key of `MOMENTS`; 'stopping': a run that was asked to stop is interrupted once more.
        count: how many notes of the moment are waited for (iterations, saves); of a start none.
        share: of what the moment usually takes, from 0 to 2: how long is waited then.
        signals: what is sent.
        pauses: seconds before each further signal.
        target: 'rank' (one of them), 'all' or 'launcher' (all, where the start has none).
        rank: which of them, a number that is taken modulo what is there.
        launched: the start goes through the launchers.
    """

    moment: str
    count: int
    share: float
    signals: tuple[int, ...]
    pauses: tuple[float, ...]
    target: str
    rank: int
    launched: bool

    @property
    def kills(self) -> bool:
        """True where it ends with SIGKILL, which nothing can answer."""
        return self.signals[-1] == signal.SIGKILL

    @property
    def is_orderly(self) -> bool:
        """True where the run is to save and to leave with an exit status; a second Ctrl-C ends it at once."""
        return not self.kills and self.signals.count(signal.SIGINT) < 2

    def __str__(self) -> str:
        names = ', '.join(signal.Signals(number).name for number in self.signals)
        how = 'launched' if self.launched else 'forked'
        return f'{names} to {self.target}, {self.moment} (after {self.count} notes and {self.share:.2f}), {how}'


def draw(seed: int, cell: str, kills: int, signals: int) -> list[Interruption]:
    """Interruptions of one run, in a random order.

    Args:
        seed: of the series.
        cell: name of the run; each draws for itself.
        kills: how many end with SIGKILL.
        signals: how many do not.
    """
    draws = random.Random(f'{seed} {cell}')
    kinds = [True] * kills + [False] * signals
    draws.shuffle(kinds)
    return [_one(draws, kill) for kill in kinds]


def _one(draws: random.Random, kill: bool) -> Interruption:
    moment = draws.choices(list(MOMENTS), list(MOMENTS.values()))[0]
    first = draws.choice(STOPS)
    sequence: tuple[int, ...] = (signal.SIGKILL,) if kill else (first,)
    if moment == 'stopping':
        again = [(first, first), (first, draws.choice(STOPS[:4])), PREEMPTED]
        sequence = (first, signal.SIGKILL) if kill else draws.choice(again)
    return Interruption(
        moment=moment,
        count=draws.randint(0, 8) if moment in ('iteration', 'stopping') else draws.randint(1, 3),
        share=draws.uniform(0, 2) if moment != 'start' else draws.uniform(0, 1.2),
        signals=sequence,
        pauses=tuple(draws.choice((0.0, draws.uniform(0, 0.3))) for _ in sequence[1:]),
        target=draws.choice(('rank', 'all', 'launcher')),
        rank=draws.randrange(2),
        launched=draws.random() < LAUNCHED,
    )


def spread(total: int, cells: int) -> list[int]:
    """`total` interruptions, shared out among cells as evenly as they go."""
    return [total * (i + 1) // cells - total * i // cells for i in range(cells)]
