"""Who hangs, judged from signs of life under a clock of the test's own."""

from dataclasses import replace

import pytest

from selfsup.cluster.tree import Identity
from selfsup.engine.processes.signs import Judge, Sign, Verdict
from selfsup.heartbeat import BATCH

TIMEOUT, PERIOD = 600.0, 15.0


class Ranks:
    """Many processes whose signs a judge notes, one period after the other."""

    def __init__(self, count, of_all=True):
        self.signs = [Sign(rank, f'node{rank // 8}', Identity('m', 100 + rank, 1)) for rank in range(count)]
        self.judge, self.now = Judge(TIMEOUT, PERIOD, 0.0, of_all), 0.0

    def all_are(self, **what):
        self.signs = [replace(sign, **what) for sign in self.signs]

    def one_is(self, rank, **what):
        self.signs[rank] = replace(self.signs[rank], **what)

    def run(self, seconds, silent=(), idle=(), unread=False):
        """The first verdict within that time, and when it was given."""
        end = self.now + seconds
        while self.now < end:
            self.now += PERIOD
            self.signs = [
                sign
                if sign.rank in silent
                else replace(sign, number=sign.number + 1, progress=sign.progress + (sign.rank not in idle))
                for sign in self.signs
            ]
            if not unread:
                self.judge.note(self.signs, self.now)
            self.judge.tick(self.now)
            verdict = self.judge.verdict()
            if verdict is not None:
                return verdict
        return None


def test_a_run_that_goes_on_is_left_alone():
    assert Ranks(64).run(5 * TIMEOUT) is None


def test_a_silent_rank_is_named():
    ranks = Ranks(64)
    ranks.all_are(doing='iteration 7', waiting=True)
    ranks.run(100)
    verdict = ranks.run(2 * TIMEOUT, silent=[13], idle=range(64))
    assert TIMEOUT - 4 * PERIOD < ranks.now - 105 <= TIMEOUT + 2 * PERIOD
    assert verdict.reason.startswith("rank 13 (node1, process 113), last at 'iteration 7', has not answered for 6")
    assert verdict.reason.endswith('it is stopped, or its machine is gone')
    assert verdict.culprits == (ranks.signs[13].identity,)


def test_silent_while_the_others_still_find_work():
    ranks = Ranks(3)
    ranks.run(100)
    verdict = ranks.run(2 * TIMEOUT, silent=[2])
    assert 'rank 2 ' in verdict.reason and ranks.now - 105 > TIMEOUT


def test_a_lost_machine_is_named_by_its_ranks():
    ranks = Ranks(16)
    ranks.run(100)
    verdict = ranks.run(2 * TIMEOUT, silent=range(8, 16))
    assert 'rank 8 (node1, process 108)' in verdict.reason and '(8 in all) have not answered' in verdict.reason
    assert len(verdict.culprits) == 8


def test_who_waits_for_a_batch_keeps_the_others_waiting():
    ranks = Ranks(64)
    ranks.all_are(doing='iteration 7', waiting=True)
    ranks.one_is(5, doing=BATCH, waiting=False)
    ranks.run(100)
    verdict = ranks.run(2 * TIMEOUT, idle=range(64))
    assert verdict.reason == (
        'no process has made progress for 600 s. Rank 5 (node0, process 105): waiting for a batch (is the mount of the '
        'images dead?), and the others wait for it'
    )
    assert verdict.culprits == (ranks.signs[5].identity,) and ranks.now - 105 > TIMEOUT


def test_one_that_works_is_waited_for_as_long_as_it_takes():
    ranks = Ranks(8)
    ranks.all_are(doing='evaluating', waiting=True)
    ranks.one_is(0, doing='clustering', waiting=False)
    assert ranks.run(10 * TIMEOUT, idle=range(1, 8)) is None
    verdict = ranks.run(2 * TIMEOUT, idle=range(8))
    assert 'Rank 0 (node0, process 100): clustering, and the others' in verdict.reason


def test_all_in_one_step():
    ranks = Ranks(4)
    ranks.all_are(doing='iteration 7', waiting=True)
    verdict = ranks.run(2 * TIMEOUT, idle=range(4))
    assert 'does the network between them work?' in verdict.reason and not verdict.culprits


def test_who_has_left_is_not_missed():
    ranks = Ranks(4)
    ranks.one_is(2, left=True)
    assert ranks.run(3 * TIMEOUT, silent=[2]) is None
    ranks.all_are(left=True)
    assert ranks.run(3 * TIMEOUT, silent=range(4)) is None


def test_only_the_whole_knows_of_a_standstill():
    ranks = Ranks(1, of_all=False)
    assert ranks.run(3 * TIMEOUT, idle=[0]) is None
    assert 'rank 0 (node0, process 100)' in ranks.run(3 * TIMEOUT, silent=[0]).reason


def test_a_process_that_was_stopped_itself_blames_nobody():
    ranks = Ranks(4)
    ranks.run(100)
    ranks.now += 10 * TIMEOUT  # Ctrl-Z, or a machine that slept
    ranks.judge.tick(ranks.now)
    assert ranks.judge.verdict() is None and ranks.judge.of_store('rank 0') is None
    assert ranks.run(3 * TIMEOUT) is None
    assert ranks.run(3 * TIMEOUT, silent=[1]) is not None


def test_a_store_that_is_gone_is_told_by_its_keeper():
    ranks = Ranks(4)
    ranks.run(100)
    assert ranks.run(TIMEOUT - 30, unread=True) is None  # nothing was read, so nothing is said of the others
    assert ranks.judge.of_store(ranks.signs[0].name) is None
    ranks.run(60, unread=True)
    verdict = ranks.judge.of_store(ranks.signs[0].name)
    assert verdict.reason.startswith('rank 0 (node0, process 100) has not answered for 6')
    assert verdict.culprits == (ranks.signs[0].identity,)


@pytest.mark.parametrize(
    'one', [Sign(3, 'a', Identity('m', 1, 2), 4, 5, 'x', True), Verdict('r', (Identity('m', 1, 2),))]
)
def test_what_travels_arrives(one):
    assert type(one).unpack(one.pack()) == one
