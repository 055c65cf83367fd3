"""Where messages and warnings go while a run goes on: into its log. Afterwards everything is as it was before."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import words_of_warning

NAMES = ('selfsup', 'py.warnings')  # loggers of messages and of warnings


def send_to(handlers: Sequence[logging.Handler]) -> None:
    """Let the loggers of `NAMES` write to `handlers`, and warnings be written to the second of them.

    Unlike `logging.captureWarnings` this takes nothing away from whoever records warnings (`warnings.catch_warnings`).

    Args:
        handlers: with levels, as those of mmengine's logger; it has none itself.
    """
    for name in NAMES:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = list(handlers), False
        logger.setLevel(min((handler.level for handler in handlers), default=logging.INFO))
    if not isinstance(warnings.showwarning, _Logged):
        warnings.showwarning = _Logged(warnings.showwarning)


class _Logged:
    """A `warnings.showwarning` that writes to the log.

    Args:
        before: the function that it stands for.
    """

    def __init__(self, before: Any) -> None:
        self.before = before

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,
        line: str | None = None,
    ) -> None:
        if file is None:
            # one text, no template: filters of repeated warnings compare templates, and would keep the first warning of a run alone
            text = words_of_warning(message, category, filename, lineno, line)
            logging.getLogger(NAMES[1]).warning(text.rstrip('\n'))
            file = io.StringIO()  # it stands in the log; a recorder gets it all the same
        self.before(message, category, filename, lineno, file, line)


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Undo at the end what `send_to` did in between."""
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(list(logger.handlers), logger.propagate, logger.level) for logger in loggers]
    shown = warnings.showwarning
    try:
        yield
    finally:
        for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
        if isinstance(warnings.showwarning, _Logged):
            warnings.showwarning = shown
