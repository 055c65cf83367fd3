"""Whoever waits for others says for whom, and what to set."""

import re
import socket

import pytest

from selfsup.cluster import meeting
from selfsup.engine.processes.joining import Place, meet
from selfsup.errors import ConfigError
from tests.distributed.helpers import free_port


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(meeting, 'EXPLAIN_S', 0.3)


def place(rank, address='127.0.0.1', port=None):
    return Place(rank, 2, address, port or free_port(), kept_by_launcher=False, attempt=0)


@pytest.mark.parametrize(
    ('where', 'message'),
    [
        (place(0), 'rank 1 of 2 did not come to 127.0.0.1:'),
        (place(1), 'the connection is refused, so nobody listens at this port. MASTER_ADDR must be the first machine'),
        (place(1, 'no-such-name.invalid'), "the name 'no-such-name.invalid' does not resolve here"),
    ],
)
def test_what_is_missing_is_said_early_and_at_the_end(where, message, capsys):
    with pytest.raises(ConfigError, match=f'^After 1.5 s .*{re.escape(message)}'):
        meet(where, 1.5)
    told = capsys.readouterr().err
    assert (
        message in told and 'It goes on waiting for 1 s (dist_params.timeout_s=1.5)' in told and told.count('\n') == 1
    )


def test_a_port_that_is_taken():
    with socket.socket() as other:
        other.bind(('', 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            ConfigError, match=f'cannot listen at port {port}: another process uses this port. Set PORT'
        ):
            meet(place(0, port=port), 0.5)
