import logging

import pytest


class Said:
    """What the logger 'selfsup' was given, whatever handlers a run has set on it."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    @property
    def text(self) -> str:
        return '\n'.join(self.messages)

    def filter(self, record: logging.LogRecord) -> bool:
        self.messages.append(record.getMessage())
        return True


@pytest.fixture
def said():
    """Messages of the logger 'selfsup' during a test. A run takes the handlers of the logger, so that `caplog` hears nothing."""
    log, ear = logging.getLogger('selfsup'), Said()
    log.addFilter(ear)
    yield ear
    log.removeFilter(ear)
