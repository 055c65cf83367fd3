"""SwAV gives the numbers of the official code: assignments, losses, gradients, prototypes and queue, on one process and two."""

import math
import pickle

import pytest
import torch
from torch import nn

from selfsup import distributed
from selfsup.contracts import Progress
from selfsup.errors import ConfigError, ShapeError
from selfsup.models.algorithms.clustering.swav import SwAV, sinkhorn
from selfsup.models.algorithms.views import swapped_cross_entropy
from selfsup.models.necks import MLPNeck
from tests.distributed.helpers import run_ranks

from .crops import Same, groups_of
from .golden import golden, gradient, leaves, near

GOLDEN = golden('swav')
FIRST, LATER = Progress(0, 10, 5), Progress(5, 10, 5)


def model_of(prototypes, neck=None, **settings):
    """SwAV on vectors, in float64, with these prototypes."""
    number, dim = prototypes.shape
    model = SwAV(Same(), neck or nn.Identity(), num_prototypes=number, feat_dim=dim, **settings).double().train()
    model.load_state_dict({**model.state_dict(), 'prototypes.weight': prototypes})
    return model


def test_a_pickled_model_still_restores_lengths():
    model = pickle.loads(pickle.dumps(model_of(torch.eye(3, dtype=torch.float64))))
    model.load_state_dict({**model.state_dict(), 'prototypes.weight': 2 * torch.eye(3)})
    assert torch.equal(model.prototypes.weight, torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize('case', GOLDEN['sinkhorn'], ids=lambda case: f'{case["epsilon"]}-{case["iterations"]}')
def test_assignments(case):
    q = sinkhorn(case['scores'], case['epsilon'], case['iterations'])
    near(q, case['q'])
    both = sinkhorn(torch.stack([case['scores'], case['scores'] * 0.5]), case['epsilon'], case['iterations'])
    near(both[0], case['q'])  # problems do not see each other
    with torch.autocast('cpu', dtype=torch.bfloat16):
        single = sinkhorn(case['scores'].float(), case['epsilon'], case['iterations'])
    assert single.dtype == torch.float32
    near(single, case['q'], 1e-5)


def test_assignments_of_one_row_and_of_the_least_epsilon():
    assert torch.equal(sinkhorn(torch.tensor([[0.3, -0.2, 0.9, 0.1]])), torch.full((1, 4), 0.25))
    q = sinkhorn(torch.eye(3) * 2 - 1, 0.025)  # the widest scores: e^-80 stays a number
    near(q, torch.eye(3), 1e-6)


def test_the_class_token_loss_of_dinov3_students_has_the_same_parts():
    """Its teacher's probabilities are assignments of both crops at once, and no crop predicts itself (`ignore_diagonal`)."""
    case = golden('distill')['dinov3_clstoken']
    q = sinkhorn(case['teacher_logits'], case['teacher_temp']).view_as(case['teacher_probs'])
    near(q, case['teacher_probs'])
    (logits,) = leaves(case['student_logits'])
    loss = swapped_cross_entropy(q, logits / case['student_temp'])
    near(loss, case['loss_ignore_diagonal'])
    near(gradient(loss, logits), case['grad_ignore_diagonal'])


@pytest.mark.parametrize('kind', ['no_head', 'head'])
@pytest.mark.parametrize('freeze', [0, 5])
def test_a_step(kind, freeze):
    case = GOLDEN[f'{kind}_freeze{freeze}']
    neck = None
    if kind == 'head':
        neck = MLPNeck(8, 7, 6, norm='BN', bias=True).double()
        state = {k.replace('projection_head', 'mlp'): v for k, v in case['state'].items() if k != 'prototypes.weight'}
        neck.load_state_dict(state)
    model = model_of(case['state']['prototypes.weight'], neck, temperature=case['temperature'], epsilon=case['epsilon'])
    near(model.prototypes.weight, case['prototypes_after'])
    (crops,) = leaves(case['crops'])
    step = model(dict(img=groups_of(crops)))
    near(step.total, case['loss'])
    near(gradient(step.total, crops), case['grad_crops'])
    step.total.backward()
    grads = {k.replace('neck.mlp', 'projection_head'): p.grad for k, p in model.named_parameters()}
    if freeze:  # dropped by optimizer_config.freeze, not by the method
        grads.pop('prototypes.weight')
    assert grads.keys() == case['grads'].keys()
    for name, value in case['grads'].items():
        near(grads[name], value)
    for name, value in case['bn_after'].items():
        near(model.state_dict()[name.replace('projection_head', 'neck.mlp')], value)


def test_the_queue_enters_when_it_is_full():
    used = []
    for i, case in enumerate(GOLDEN['steps']):
        model = model_of(case['prototypes_before'], queue_len=12, queue_start=1)
        model.queue.copy_(case['queue_before'])
        (crops,) = leaves(case['crops'])
        step = model(dict(img=groups_of(crops)))
        near(step.total, case['loss'])
        near(gradient(step.total, crops), case['grad_crops'])
        near(gradient(step.total, model.prototypes.weight), case['grads']['prototypes.weight'])
        model.after_update([step.carry], FIRST)
        near(model.queue, case['queue_before'])  # before its epoch
        model.after_update([step.carry], LATER)
        near(model.queue, case['queue_after'])
        near(model.prototypes.weight, case['prototypes_after'])
        model.queue.zero_()
        used.append(not torch.allclose(model(dict(img=groups_of(crops))).total, case['loss']))
        assert used[i] == case['queue_used']
    assert used.count(True) == 3


def test_prototypes_stay_of_unit_length():
    model = model_of(torch.randn(5, 4, dtype=torch.float64))
    single = SwAV(Same(), nn.Identity(), num_prototypes=300, feat_dim=16)
    before = single.state_dict()['prototypes.weight'].clone()
    for _ in range(2):
        single.load_state_dict(single.state_dict())
    assert torch.equal(before, single.prototypes.weight)  # bit for bit
    with torch.no_grad():
        model.prototypes.weight.mul_(torch.arange(1, 6)[:, None])
    model.after_update([{}], LATER)
    near(model.prototypes.weight.norm(dim=1), torch.ones(5))


def test_uniform_predictions_cost_ln_k():
    model = SwAV(Same(), nn.Identity(), num_prototypes=7, feat_dim=4, temperature=1e6)
    step = model(dict(img=torch.randn(3, 2, 4, 1, 1)))
    assert float(step.total.detach()) == pytest.approx(math.log(7), abs=1e-4)


def test_what_does_not_fit():
    model = SwAV(Same(), nn.Identity(), num_prototypes=7, feat_dim=4, queue_len=12)
    model.check_data(100, [12, 4])
    with pytest.raises(
        ConfigError, match=r'model\.queue_len=12 is less than one global batch of 16: set it to 16 or more'
    ):
        model.check_data(100, [16])
    with pytest.raises(
        ShapeError, match=r'SwAV needs 2 views or more with assign_views=2; got \(3, 1, 4, 1, 1\): set number'
    ):
        model(dict(img=torch.randn(3, 1, 4, 1, 1)))
    with pytest.raises(ShapeError, match=r'SwAV has feat_dim=4, but its neck gives 5 numbers: make them equal'):
        model(dict(img=torch.randn(3, 2, 5, 1, 1)))


# ---- two processes ----


def on_two_ranks():
    case, rank = GOLDEN['ranks2'], distributed.rank()
    model = model_of(case['prototypes'], queue_len=16, queue_start=0)
    first, second = case['queue'].split(4, dim=2)  # (2 ranks, 2, 4, 5) each: the newer and the older rows
    model.queue.copy_(torch.cat([*first, *second], dim=1))  # by age, then by rank
    (crops,) = leaves(case['crops'][rank])
    step = model(dict(img=groups_of(crops)))
    grads = gradient(step.total, crops), gradient(step.total, model.prototypes.weight)
    model.after_update([step.carry], LATER)
    q = sinkhorn(case['scores'][rank], case['epsilon'], case['iterations'])
    return q, step.total.detach(), *grads, model.queue


@pytest.mark.dist
def test_two_processes():
    """The official code has a queue per process; one queue of all of them gives the same assignments."""
    case = GOLDEN['ranks2']
    found = run_ranks(on_two_ranks, 2)
    for rank, (q, loss, grad, grad_prototypes, queue) in enumerate(found):
        near(q, case['q'][rank])
        near(loss, case['loss'][rank])
        near(grad, case['grad_crops'][rank])
        near(grad_prototypes, case['grad_prototypes'][rank])
        first, second = case['queue_after'].split(4, dim=2)
        near(queue, torch.cat([*first, *second], dim=1))
