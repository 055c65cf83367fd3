"""What the processes of a run tell of themselves, and the judgement on it: who has stopped, and who keeps the others waiting.

Nothing here asks a clock or a network, and no times of two machines are compared: an observer notes when, by its own clock, a count of
another process rose.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from ...cluster.tree import Identity
from ...errors import listed
from ...heartbeat import BATCH

MISSED = 4  # publications that did not come: this process has not merely been slow


@dataclass(frozen=True)
class Sign:
    """What one process publishes again and again.

    Attributes:
        rank: of the process.
        host: name of its machine.
        identity: of the process there.
        number: how many signs it has published.
        progress: a count that rises as long as work goes on.
        doing: what it does, in words.
        waiting: it may be waiting for others, see `Heart`.
        left: it has ended in order and publishes nothing more.
    """

    rank: int
    host: str
    identity: Identity
    number: int = 0
    progress: int = 0
    doing: str = ''
    waiting: bool = False
    left: bool = False

    def pack(self) -> bytes:
        """As bytes, for a store."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def unpack(cls, data: bytes) -> Sign:
        """From `pack`."""
        fields = json.loads(data)
        return cls(**{**fields, 'identity': Identity(**fields['identity'])})

    @property
    def name(self) -> str:
        """For a message."""
        return f'rank {self.rank} ({self.host}, process {self.identity.pid})'


@dataclass(frozen=True)
class Verdict:
    """Why a run cannot go on.

    Attributes:
        reason: one sentence, with the names of those it is about.
        culprits: the processes that have stopped or keep the others waiting.
    """

    reason: str
    culprits: tuple[Identity, ...] = ()

    def pack(self) -> bytes:
        """As bytes, for a store."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def unpack(cls, data: bytes) -> Verdict:
        """From `pack`."""
        fields = json.loads(data)
        return cls(fields['reason'], tuple(Identity(**one) for one in fields['culprits']))


@dataclass
class _Seen:
    sign: Sign
    published: float  # when its number rose last, by the clock of who watches
    progressed: float


class Judge:
    """Notes signs as they come and says when one process, or all, have stopped.

    Args:
        timeout_s: seconds without a sign, or without progress anywhere, after which the run is given up.
        period_s: seconds between two signs of a process.
        now: by the clock of who watches, in seconds.
        of_all: the signs of all processes are noted, so a standstill can be told from one that waits.
    """

    def __init__(self, timeout_s: float, period_s: float, now: float, of_all: bool = True) -> None:
        self.timeout_s, self.period_s, self.of_all = timeout_s, period_s, of_all
        self._seen: dict[int, _Seen] = {}
        self._asked = self._read = now

    @property
    def unread_s(self) -> float:
        """Seconds between the latest question and the latest signs."""
        return self._asked - self._read

    def note(self, signs: Sequence[Sign], now: float) -> None:
        """Take in the newest sign of each process."""
        self._read = now
        for sign in signs:
            seen = self._seen.setdefault(sign.rank, _Seen(sign, now, now))
            if sign.number != seen.sign.number:
                seen.published = now
            if sign.progress != seen.sign.progress:
                seen.progressed = now
            seen.sign = sign

    def tick(self, now: float) -> None:
        """Called often. A gap says that this very process stood still (a suspended machine, Ctrl-Z): nobody else is to blame for it."""
        gap = now - self._asked
        if gap > MISSED * self.period_s:
            self._read += gap
            for seen in self._seen.values():
                seen.published += gap
                seen.progressed += gap
        self._asked = now

    def verdict(self) -> Verdict | None:
        """None as long as the run may go on."""
        if self.unread_s > self.period_s * MISSED:
            return None  # what was read long ago says nothing about the others
        present = [seen for seen in self._seen.values() if not seen.sign.left]
        silent = [seen for seen in present if self._asked - seen.published > self.timeout_s]
        if silent:
            return self._of_silent(silent)
        if not self.of_all or not present or self._asked - max(seen.progressed for seen in present) <= self.timeout_s:
            return None
        late = [seen for seen in present if self._asked - seen.published > self.period_s * MISSED]
        return self._of_silent(late) if late else self._of_standstill([seen.sign for seen in present])

    def of_store(self, holder: str) -> Verdict | None:
        """A verdict where no signs can be read any more, as long as they ought to come: `holder` keeps them for all processes."""
        gone = all(seen.sign.left for seen in self._seen.values())
        if gone or self.unread_s <= self.timeout_s:
            return None
        known = [seen.sign.identity for seen in self._seen.values() if seen.sign.name == holder]
        return Verdict(_silence([holder], self.unread_s), tuple(known))

    def _of_silent(self, silent: Sequence[_Seen]) -> Verdict:
        names = [f"{seen.sign.name}, last at '{seen.sign.doing}'," for seen in silent]
        longest = max(self._asked - seen.published for seen in silent)
        return Verdict(_silence(names, longest), tuple(seen.sign.identity for seen in silent))

    def _of_standstill(self, signs: Sequence[Sign]) -> Verdict:
        behind = [sign for sign in signs if not sign.waiting]
        start = f'no process has made progress for {self.timeout_s:.0f} s'
        if not behind or len(behind) == len(signs) > 1:
            each = ', '.join(f'{listed(names)}: {doing}' for doing, names in _by_doing(signs).items())
            hint = '' if behind else '; they wait for each other: does the network between them work?'
            return Verdict(f'{start} ({each}{hint})', tuple(sign.identity for sign in behind))
        names = '; '.join(f'{listed(names)}: {doing}{_hint(doing)}' for doing, names in _by_doing(behind).items())
        rest = ', and the others wait for it' if len(signs) > 1 else ''
        return Verdict(f'{start}. {names[0].upper()}{names[1:]}{rest}', tuple(sign.identity for sign in behind))


def _silence(names: Sequence[str], seconds: float) -> str:
    verb, rest = ('has', 'it is') if len(names) == 1 else ('have', 'they are')
    machine = 'its machine is' if len(names) == 1 else 'their machines are'
    return f'{listed(names)} {verb} not answered for {seconds:.0f} s: {rest} stopped, or {machine} gone'


def _by_doing(signs: Sequence[Sign]) -> Mapping[str, list[str]]:
    """Names of processes by what they do, in order of rank."""
    groups: dict[str, list[str]] = {}
    for sign in sorted(signs, key=lambda one: one.rank):
        groups.setdefault(sign.doing, []).append(sign.name)
    return groups


def _hint(doing: str) -> str:
    return ' (is the mount of the images dead?)' if doing.startswith(BATCH) else ''
