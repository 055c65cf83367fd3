"""Images by number from a data set that can only be read forwards."""

from __future__ import annotations

import itertools
import logging
import os
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from ....errors import DataError

BATCH = 16  # examples that the library hands over at once
JUMPS = 3  # so often a stream is read again from its start, up to its middle, without a word


class Stream:
    """Number i is the i-th example; each process reads on its own, and keeps the last ones.

    What lies behind those is read again from the start, which happens once per epoch in the order of `WindowSampler`.

    Args:
        examples: a `datasets.IterableDataset`.
        column: of images.
        held: examples that are kept; all images of a window of `WindowSampler` must be among them.
        named: what to call the stream, for messages.
    """

    def __init__(self, examples: Any, column: str, held: int, named: str) -> None:
        self.examples, self.column, self.held, self.named = examples, column, held, named
        self._forget()

    def _forget(self) -> None:
        self._owner = os.getpid()
        self._cells: OrderedDict[int, Any] = OrderedDict()
        self._position = 0  # number of the example that comes next
        self._running: Iterator[Any] | None = None
        self._jumps = self._since = 0  # ways back into the middle, and examples read since the last

    def read(self, index: int) -> Any:
        """Cell of example `index`.

        Raises:
            DataError: the stream breaks, or ends before.
        """
        if self._owner != os.getpid():  # a forked worker must not share what its parent reads
            self._forget()
        if index in self._cells:
            return self._cells[index]
        if self._running is None or not self._position <= index < self._position + self.held:
            self._seek(index)
        for cell in self._next(index):
            self._cells[self._position] = cell
            self._position += 1
            self._since += 1
            if len(self._cells) > self.held:
                self._cells.popitem(last=False)
        return self._cells[index]

    def _seek(self, index: int) -> None:
        """Go to the example, from the start; what is passed over is not decoded, but for most formats it is fetched.

        Raises:
            DataError: the stream is read here and there, each time from its start.
        """
        if self._running is not None and self.held <= index < self._position:
            self._jumps = 1 + (self._jumps if self._since < self.held else 0)
            self._since = 0
            if self._jumps > JUMPS:
                raise DataError(
                    f'{self.named} is read here and there, each time from its start. A stream needs an order that follows it: '
                    "data.sampler=dict(type='WindowSampler'), or shuffle=False; or load it without streaming=True."
                )
        self._cells.clear()
        self._position = max(0, index - self.held * 3 // 4)  # others of its window come before it
        self._running = self._examples(self._position)

    def _examples(self, first: int) -> Iterator[Any]:
        # `iter(examples)` would share the examples out among the loader workers; here each worker counts them all
        for batch in (self.examples.skip(first) if first else self.examples).iter(batch_size=BATCH):
            yield from batch[self.column]

    def _next(self, index: int) -> Iterator[Any]:
        """Cells from the position on to example `index`."""
        assert self._running is not None
        count = index + 1 - self._position
        try:
            read = 0
            for cell in itertools.islice(self._running, count):
                read += 1
                yield cell
        except Exception as error:  # of the library and of the network: none is the fault of one image
            position, self._running = self._position, None
            raise DataError(
                f'{self.named} broke at example {position}: {type(error).__name__}: {" ".join(str(error).split())[:300]}. '
                'Resume the run from its last checkpoint.'
            ) from None
        if read < count:
            position, self._running = self._position, None
            raise DataError(
                f'{self.named} has ended after {position} examples. Give their number as number={position}.'
            )

    def count(self) -> int:
        """Number of examples: one pass through all of them."""
        logging.getLogger('selfsup').info(f'{self.named}: its examples are counted; number=... would save that.')
        try:
            return sum(len(batch[self.column]) for batch in self.examples.iter(batch_size=1000))
        except Exception as error:  # see `_next`
            raise DataError(f'{self.named} cannot be counted: {type(error).__name__}: {error}.') from None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_cells': OrderedDict(), '_position': 0, '_running': None, '_owner': -1}
