"""The collapse numbers at their known ends."""

from __future__ import annotations

import math

import pytest
import torch

from selfsup.errors import ShapeError
from selfsup.hooks.collapse_hook import collapse_statistics


def _gaussian(b, d, seed=0):
    return torch.randn(b, d, generator=torch.Generator().manual_seed(seed))


def test_isotropic():
    found = collapse_statistics(_gaussian(2000, 16))
    assert found['std'] == pytest.approx(1, abs=0.01) and found['effective_rank'] == pytest.approx(16, abs=0.1)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('scale', [1e-3, 1.0, 1e3])
def test_collapsed_to_a_point(dtype, scale):
    found = collapse_statistics((_gaussian(1, 32) * scale).to(dtype).expand(64, 32))
    assert found['std'] < 1e-5 and found['effective_rank'] == pytest.approx(1)


def test_all_zero():
    assert collapse_statistics(torch.zeros(4, 3)) == {'std': 0.0, 'effective_rank': 1.0}


@pytest.mark.parametrize('rank', [1, 3, 8])
def test_dimensional_collapse(rank):
    basis = torch.linalg.qr(_gaussian(32, rank, 1))[0]
    found = collapse_statistics(_gaussian(4000, rank) @ basis.T + 5 * _gaussian(1, 32, 2))  # the offset does not count
    assert found['effective_rank'] == pytest.approx(rank, rel=0.02)


def test_by_hand():
    found = collapse_statistics(torch.tensor([[3.0, 0], [-3.0, 0], [0, 1], [0, -1]]))
    p, q = 3 / 4, 1 / 4  # singular values 3 sqrt(2), sqrt(2)
    assert found['effective_rank'] == pytest.approx(math.exp(-p * math.log(p) - q * math.log(q)))
    assert found['std'] == pytest.approx(math.sqrt(0.5) * math.sqrt(2))


def test_under_autocast_and_with_gradient():
    x = _gaussian(64, 16).requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert collapse_statistics(x) == collapse_statistics(x.detach())


def test_not_finite_and_bad_shapes():
    bad = _gaussian(4, 3)
    bad[1, 1] = math.inf
    assert all(math.isnan(v) for v in collapse_statistics(bad).values())
    for shape in ((1, 8), (4,), (2, 3, 4)):
        with pytest.raises(ShapeError, match='B >= 2'):
            collapse_statistics(torch.ones(shape))
