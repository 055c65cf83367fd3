"""The formulas of docs/scaling.md against what two processes hand to their collectives, byte for byte."""

import pytest

from benchmarks.speed import traffic
from selfsup.evaluation.analysis.scale import (
    DENSE_LOGITS,
    Sizes,
    between_steps,
    collectives,
    memory,
    sent,
    sharded_collectives,
)
from selfsup.models.algorithms.contrastive.dense_cl import LOGITS_AT_ONCE

from .helpers import run_ranks


@pytest.mark.dist
def test_every_method_sends_what_the_formulas_say():
    for found in run_ranks(traffic.count_payloads, 2, timeout=300):
        assert found.keys() == traffic.PARTS.keys()
        for name, (counted, formula) in found.items():
            assert counted == formula, name
            assert counted['all_reduce'] > 4 * 1000, name  # the gradients at least


def test_a_ring():
    assert sent('all_reduce', 800, 2) == 800 and sent('all_gather', 800, 2) == 400
    assert sent('all_reduce', 800, 4) == 1200 and sent('reduce_scatter', 800, 4) == sent('broadcast', 800, 4) == 600


def test_one_process_sends_nothing_and_dealt_out_weights_need_half_as_much_again():
    sizes = Sizes('Classification', trained=1000)
    assert collectives(sizes, 1) == between_steps(sizes, 1) == sharded_collectives(sizes, 1) == []

    def total(found):
        return sum(sent(one.kind, one.payload, 8) for one in found)

    logs = sent('all_reduce', 4, 8)
    assert total(sharded_collectives(sizes, 8)) - logs == pytest.approx(1.5 * (total(collectives(sizes, 8)) - logs))


def test_memory_counts_each_part():
    adam = Sizes('FCMAE', trained=1000, optimizer='AdamW')
    assert memory(adam, 1) == {'weights': 4000, 'gradients': 4000, 'optimizer': 8000}
    assert memory(adam, 8)['DDP buckets'] == 4000
    assert sum(memory(adam, 8, fsdp=True).values()) == 16000 / 8
    assert memory(Sizes('SimCLR', trained=0, batch=4), 2)['loss'] == 32 * 8 * 16
    bank = Sizes('ODC', trained=0, images=100, dim=2, entries=3)
    assert memory(bank, 10)['queue or bank'] == 4 * 11 * 2 + 8 * 100 + 4 * 3 * 2


def test_dense_logits_are_bounded():
    assert DENSE_LOGITS == LOGITS_AT_ONCE
    few, many = (Sizes('DenseCL', trained=0, batch=b, entries=65535, positions=49) for b in (1, 32))
    assert memory(few, 1)['loss'] == 16 * 65536 * (1 + 49)
    assert memory(many, 1)['loss'] == 16 * (32 * 65536 + 2**24)
