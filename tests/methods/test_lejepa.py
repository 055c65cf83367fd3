"""LeJEPA gives the numbers of the official code: the test statistic, the loss, on one process and two."""

import pytest
import torch
from torch import nn

from selfsup import distributed
from selfsup.contracts import Progress
from selfsup.errors import ShapeError
from selfsup.models.algorithms.siamese.lejepa import LeJEPA, draw_slices, invariance, sigreg
from tests.distributed.helpers import run_ranks

from .crops import Same, groups_of
from .golden import golden, gradient, leaves, near

GOLDEN = golden('lejepa')
GRID = 1e-6  # the official grid is float32


@pytest.mark.parametrize('case', GOLDEN['sigreg'])
def test_the_statistic(case):
    (x,) = leaves(case['x'])
    stats = sigreg(x, case['A'], case['n_points'], case['t_max'])
    near(stats, case['stats'], GRID)
    near(gradient(stats.mean(), x), case['grad_x'], GRID)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        single = sigreg(x.float(), case['A'], case['n_points'], case['t_max'])
    assert single.dtype == torch.float32
    near(single, case['stats'], 1e-4 * float(case['stats'].max()))


@pytest.mark.parametrize('case', GOLDEN['loss'], ids=lambda case: str(case['lamb']))
@pytest.mark.parametrize('centre', ['all', 'global'])
def test_the_loss(case, centre, monkeypatch):
    monkeypatch.setattr('selfsup.models.algorithms.siamese.lejepa.draw_slices', lambda *_: case['A'])
    model = LeJEPA(Same(), nn.Identity(), case['lamb'], 10, knots=case['knots'], centre=centre)
    (z,) = leaves(case['proj'])
    step = model(dict(img=groups_of(z, case['n_global'])))
    near(step.logs['sigreg'], case['sigreg_loss'], GRID)
    inv = case['inv_loss' if centre == 'all' else 'inv_loss_global_centre']
    near(step.logs['invariance'], inv, GRID)
    near(step.total, case['lamb'] * case['sigreg_loss'] + (1 - case['lamb']) * inv, GRID)
    if centre == 'all':
        near(step.total, case['loss'], GRID)
        near(gradient(step.total, z), case['grad_proj'], GRID)


def test_one_view_agrees_with_nothing():
    with pytest.raises(ShapeError, match=r'LeJEPA needs 2 views or more; got \(3, 1, 4, 1, 1\): set number'):
        LeJEPA(Same(), nn.Identity(), num_slices=2)(dict(img=torch.randn(3, 1, 4, 1, 1)))


def test_the_centre_has_a_gradient():
    (z,) = leaves(torch.randn(3, 2, 4, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda x: invariance(x, 2), z)


def test_a_standard_normal_is_at_the_floor_and_zeros_are_not():
    torch.manual_seed(0)
    slices = draw_slices(3, 8, 64)
    near(slices.norm(dim=0), torch.ones(64), 1e-6)
    assert torch.equal(slices, draw_slices(3, 8, 64)) and not torch.equal(slices, draw_slices(4, 8, 64))
    assert float(sigreg(torch.randn(100, 64, 8), slices).mean()) == pytest.approx(1.05, abs=0.15)  # 100 samples
    assert float(sigreg(torch.zeros(100, 8), slices).mean()) == pytest.approx(40.2, rel=0.01)


def test_each_step_draws_other_slices():
    torch.manual_seed(0)
    model = LeJEPA(Same(), nn.Identity(), num_slices=4)
    img = torch.randn(3, 2, 5, 1, 1)
    first = model(dict(img=img)).total
    torch.manual_seed(9)
    assert torch.equal(model(dict(img=img)).total, first)  # whatever was drawn before: also the micro-batches of a step
    model.after_update([{}, {}], Progress(1, 10, 5))
    assert int(model.step) == 1 and not torch.equal(model(dict(img=img)).total, first)


# ---- two processes ----


def on_two_ranks():
    case = GOLDEN['ranks2']
    (x,) = leaves(case['x'][distributed.rank()])
    stats = sigreg(x, case['A'], case['n_points'], case['t_max'])
    return stats.detach(), gradient(stats.mean(), x)


@pytest.mark.dist
def test_two_processes():
    """What a rank gets from its backward pass sums over the ranks, as the official all-reduce does; DDP then takes the mean."""
    case = GOLDEN['ranks2']
    for rank, (stats, grad) in enumerate(run_ranks(on_two_ranks, 2)):
        near(stats, case['stats'][rank], GRID)
        near(stats.mean(), case['loss'][rank], GRID)
        near(grad, case['grad_x'][rank], GRID)
