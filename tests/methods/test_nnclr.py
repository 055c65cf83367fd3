"""NNCLR against the formulas of the paper's pseudo-code (as solo-learn has them): loss, successive steps of one queue, two processes."""

import pytest
import torch
from torch import nn

from selfsup import distributed
from selfsup.contracts import Progress
from selfsup.errors import ConfigError, SelfSupWarning, ShapeError
from selfsup.models.algorithms.contrastive.nnclr import NNCLR, contrast, neighbours
from selfsup.models.algorithms.contrastive.queue import enqueue
from selfsup.models.layers.functional import l2_normalize
from tests.distributed.helpers import run_ranks

from .golden import golden, gradient, leaves, near


class FromTable(nn.Module):
    """A neck or predictor that gives what was recorded, one row of a table for each call."""

    def __init__(self, *calls):
        super().__init__()
        self.calls = list(calls)

    def forward(self, x):
        return self.calls.pop(0)


def build(queue_len=12, feat_dim=6, **parts):
    return NNCLR(
        nn.Identity(),
        **{'neck': nn.Identity(), 'predictor': nn.Identity(), **parts},
        queue_len=queue_len,
        feat_dim=feat_dim,
    )


def test_loss_of_one_direction():
    for case in golden('nnclr')['loss']:
        (p,) = leaves(case['p'])
        loss, _ = contrast(l2_normalize(case['nn']), l2_normalize(p), case['temperature'])
        near(loss, case['loss'])
        near(gradient(loss, p), case['grad_p'])


def test_steps_of_a_queue():
    steps = golden('nnclr')['steps']
    model = build().double()
    model.queue.copy_(steps[0]['queue_before'].T)
    for step in steps:
        near(model.queue.T, step['queue_before'])
        assert int(model.queue_ptr) == step['ptr_before']
        p1, p2 = leaves(step['p1'], step['p2'])
        for z, idx in (('z1', 'idx1'), ('z2', 'idx2')):
            near(neighbours(step[z], model.queue)[0], step['queue_before'][step[idx]])
        model.neck, model.predictor = FromTable(step['z1'], step['z2']), FromTable(p1, p2)
        result = model.loss(torch.zeros(4, 2, 3, 1, 1))
        near(result.total, step['loss'])
        near(gradient(result.total, p1), step['grad_p1'])
        near(gradient(result.total, p2), step['grad_p2'])
        model.after_update([result.carry], Progress(1, 10, 5))
        near(model.queue.T, step['queue_after'])
        assert int(model.queue_ptr) == step['ptr_after']


def test_a_queue_that_is_no_multiple_of_the_batch_wraps():
    model = build(queue_len=7, feat_dim=2)
    rows = torch.arange(10.0).reshape(5, 2)
    for _ in range(2):
        model.after_update([{'embeddings': rows}], Progress(1, 10, 5))
    assert int(model.queue_ptr) == 3
    assert torch.equal(model.queue.T, rows[[2, 3, 4, 3, 4, 0, 1]])


def test_neighbours_stand_in_the_old_queue_and_get_no_gradient():
    x = torch.randn(4, 2, 6, 1, 1)
    model = build(neck=nn.Flatten(), predictor=nn.Linear(6, 6))
    model.after_update([{'embeddings': l2_normalize(x[:, 1].flatten(1))}], Progress(0, 10, 5))
    before = model.queue.clone()
    step = model.loss(x)
    assert torch.equal(model.queue, before)
    near(step.carry['embeddings'], l2_normalize(x[:, 0].flatten(1)), atol=1e-6)
    _, similar = neighbours(l2_normalize(x[:, 0].flatten(1)), before)
    expected = (similar.mean() + 1) / 2  # the second views find themselves
    assert step.logs['neighbour_similarity'].item() == pytest.approx(expected.item(), abs=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match='queue of NNCLR holds queue_len=12 keys, fewer than one global batch of 16'):
        build().check_data(100, [16, 4])
    with pytest.raises(ShapeError, match='NNCLR has feat_dim=6, but its neck gives 5 numbers'):
        build(neck=nn.Flatten()).loss(torch.randn(4, 2, 5, 1, 1))
    with pytest.raises(ConfigError, match='NNCLR contrasts each image'):
        build().check_data(100, [1])
    with pytest.warns(SelfSupWarning, match=r'images are neighbours of themselves: set model.queue_len=4\.'):
        build().check_data(11, [4, 3])


def one_of_two():
    case, rank = golden('nnclr')['ranks2'], distributed.rank()
    (p,) = leaves(case['p'][rank])
    loss, _ = contrast(l2_normalize(case['nn'][rank]), l2_normalize(p), case['temperature'])
    near(loss, case['loss'][rank])
    near(gradient(loss, p), case['grad_p'][rank])
    length = len(case['queue_after'][rank])
    queue, pointer = torch.zeros(5, length, dtype=torch.float64), torch.zeros(1, dtype=torch.long)
    z = l2_normalize(case['z'][rank])
    enqueue('NNCLR', queue, pointer, distributed.gather_no_grad(z))
    near(queue[:, :8].T, case['queue_after'][rank][:8])
    assert int(pointer) == 8
    return True


@pytest.mark.dist
def test_two_processes():
    assert run_ranks(one_of_two, 2) == [True, True]
