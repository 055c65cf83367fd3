"""SimSiam, Barlow Twins and VICReg against the official codes: value, gradient and running statistics, on one process and on two."""

import pytest
import torch
from torch import nn

from selfsup import distributed
from selfsup.models.algorithms import BarlowTwins, SimSiam, VICReg
from selfsup.models.algorithms.siamese.barlow_twins import correlation_terms, standardize
from selfsup.models.algorithms.siamese.simsiam import negative_cosine
from selfsup.models.algorithms.siamese.vicreg import covariance_term, variance_term
from selfsup.models.layers.functional import off_diagonal_squares
from selfsup.models.necks import MLPNeck
from tests.distributed.helpers import run_ranks

from .golden import golden, gradient, leaves, near


def pixels(x):
    """Vectors (B, D) as images of one pixel, which `AsMap` gives back."""
    return x[:, :, None, None]


class AsMap(nn.Module):
    """A backbone that does nothing: the reference numbers begin at pooled features."""

    def forward(self, x):
        return (x,)


class FirstPixel(nn.Module):
    """A neck that does nothing."""

    def forward(self, maps):
        return maps[-1].flatten(1)


def load(neck, state, prefix):
    """Weights of an official projection, whose layers have the numbers of ours."""
    found = {f'mlp.{key.removeprefix(prefix)}': value for key, value in state.items() if key.startswith(prefix)}
    missing, unused = neck.double().load_state_dict(found, strict=False)
    assert missing == [] and set(unused) <= {'mlp.6.bias'}


def check_network(model, case, names, views, official_only=()):
    """Loss, gradients and running statistics of one step; `names` maps our parts to those of the official code."""
    x1, x2 = leaves(*views)
    step = model.double().train()({'img': torch.stack([pixels(x1), pixels(x2)], dim=1)})
    near(step.total, case['loss'])
    step.total.backward()
    for key, kind in (('grads', model.named_parameters()), ('bn_after', model.named_buffers())):
        found = {}
        for name, tensor in kind:
            part, _, layer = name.partition('.mlp.')
            found[f'{names[part]}.{layer}'] = tensor.grad if key == 'grads' else tensor
        assert set(case[key]) - set(found) == set(official_only) & set(case[key])
        assert all('num_batches' in name for name in set(found) - set(case[key]))
        for name in set(found) & set(case[key]):
            near(found[name], case[key][name])
    return x1, x2, step


# ---- SimSiam ----


def simsiam(last_bias):
    case = golden('simsiam')
    neck = MLPNeck(10, 10, 8, num_layers=3, last_norm='BN-', last_bias=last_bias)
    predictor = MLPNeck(8, 4, 8, with_avg_pool=False)
    load(neck, case['state'], 'encoder.fc.')
    load(predictor, case['state'], 'predictor.')
    return SimSiam(AsMap(), neck, predictor), case


def test_simsiam_without_the_bias_that_the_official_code_freezes():
    """The bias shows in the running mean of the norm behind it, and nowhere else."""
    model, case = simsiam(last_bias=False)
    case['bn_after']['encoder.fc.7.running_mean'] -= 0.19 * case['state']['encoder.fc.6.bias']  # two updates of 0.1
    views = case['x1'], case['x2']
    x1, x2, _ = check_network(model, case, {'neck': 'encoder.fc', 'predictor': 'predictor'}, views)
    near(x1.grad, case['grad_x1'])
    near(x2.grad, case['grad_x2'])


def test_simsiam_with_the_official_bias():
    """Also trainable it does not move, but for weight decay: its gradient is 0."""
    model, case = simsiam(last_bias=True)
    case['grads']['encoder.fc.6.bias'] = torch.zeros(8, dtype=torch.float64)
    views = case['x1'], case['x2']
    check_network(model, case, {'neck': 'encoder.fc', 'predictor': 'predictor'}, views)
    for number in (1, 2):
        z = model.neck(pixels(views[number - 1]))
        near(z, case[f'z{number}'])
        near(model.predictor(z), case[f'p{number}'])


def test_simsiam_loss():
    case = golden('simsiam')['loss_only']
    p, z = leaves(case['p'], case['z'])
    loss = negative_cosine(p, z)
    near(loss, case['loss'])
    near(gradient(loss, p), case['grad_p'])
    near(gradient(loss, z), torch.zeros_like(z))


# ---- Barlow Twins ----


@pytest.mark.parametrize('number', range(2))
def test_barlow_loss(number):
    case = golden('barlow')['cases'][number]
    z1, z2 = leaves(case['z1'], case['z2'])
    n1, n2 = standardize(z1), standardize(z2)
    near(n1.T @ n2 / len(n1), case['c'])
    on_diagonal, off_diagonal = correlation_terms(n1, n2)
    near(on_diagonal, case['on_diag'])
    near(off_diagonal, case['off_diag'])
    loss = on_diagonal + case['lambd'] * off_diagonal
    near(loss, case['loss'])
    near(gradient(loss, z1), case['grad_z1'])
    near(gradient(loss, z2), case['grad_z2'])


def barlow(case, neck=None, scale=1.0):
    return BarlowTwins(AsMap(), neck or FirstPixel(), case['lambd'], scale)


def test_barlow_network():
    case = golden('barlow')['projector']
    neck = MLPNeck(5, 7, 6, num_layers=3, last_bias=False)
    load(neck, case['state'], 'projector.')
    model = barlow(case, neck)
    # nothing reads the running statistics of the norm of the loss
    unread = ('bn.running_mean', 'bn.running_var')
    _, _, step = check_network(model, case, {'neck': 'projector'}, (case['y1'], case['y2']), unread)
    near(step.logs['on_diagonal'] + case['lambd'] * step.logs['off_diagonal'], case['loss'])


def test_barlow_scale():
    case = golden('barlow')['cases'][0]
    step = barlow(case, scale=0.024)({'img': torch.stack([pixels(case['z1']), pixels(case['z2'])], dim=1)})
    near(step.total, 0.024 * case['loss'])
    near(step.logs['on_diagonal'], case['on_diag'])  # logs keep their meaning


# ---- VICReg ----


@pytest.mark.parametrize('number', range(2))
def test_vicreg_loss(number):
    case = golden('vicreg')['cases'][number]
    x, y = leaves(case['x'], case['y'])
    near(variance_term(x) + variance_term(y), case['std_loss'])
    near(covariance_term(x) + covariance_term(y), case['cov_loss'])
    step = VICReg(AsMap(), FirstPixel(), *case['coeff'])({'img': torch.stack([pixels(x), pixels(y)], dim=1)})
    near(step.total, case['loss'])
    for name, expected in (('invariance', 'repr_loss'), ('variance', 'std_loss'), ('covariance', 'cov_loss')):
        near(step.logs[name], case[expected])
    near(gradient(step.total, x), case['grad_x'])
    near(gradient(step.total, y), case['grad_y'])


def test_vicreg_network():
    case = golden('vicreg')['projector']
    neck = MLPNeck(5, 7, 6, num_layers=3, bias=True, last_bias=False)
    load(neck, case['state'], 'projector.')
    check_network(VICReg(AsMap(), neck), case, {'neck': 'projector'}, (case['x'], case['y']))


# ---- two processes ----


def of_rank(tensors):
    return leaves(*(x[distributed.rank()] for x in tensors))


def ranks2():
    """What each process has of the official cases for two processes: loss and gradients before DDP averages them."""
    twins, vicreg = golden('barlow')['ranks2'], golden('vicreg')['ranks2']
    z1, z2 = of_rank((twins['z1'], twins['z2']))
    # in these cases each process has the norm of its own images
    rows = distributed.gather(torch.cat([standardize(z1), standardize(z2)], dim=1)).chunk(2, dim=1)
    on_diagonal, off_diagonal = correlation_terms(*rows)
    loss = on_diagonal + twins['lambd'] * off_diagonal
    found = {'barlow': (loss.detach(), *torch.autograd.grad(loss, (z1, z2)))}
    x, y = of_rank((vicreg['x'], vicreg['y']))
    loss = VICReg(AsMap(), FirstPixel())({'img': torch.stack([pixels(x), pixels(y)], dim=1)}).total
    return {**found, 'vicreg': (loss.detach(), *torch.autograd.grad(loss, (x, y)))}


def split_barlow():
    """The class on half of the images of each case for one process."""
    found = []
    for case in golden('barlow')['cases']:
        z1, z2 = leaves(*(distributed.local_rows(case[name]) for name in ('z1', 'z2')))
        loss = barlow(case)({'img': torch.stack([pixels(z1), pixels(z2)], dim=1)}).total
        found.append((loss.detach(), *torch.autograd.grad(loss, (z1, z2))))
    return found


def two_ranks():
    return ranks2(), split_barlow()


@pytest.mark.dist
def test_two_processes():
    """DDP divides the gradients by W = 2 afterwards. VICReg's is the official one; Barlow's is W times it, see `barlow_twins.py`."""
    results = run_ranks(two_ranks, 2)
    twins, vicreg = golden('barlow')['ranks2'], golden('vicreg')['ranks2']
    for rank, (found, split) in enumerate(results):
        near(found['barlow'][0], twins['loss'][rank])
        for got, name in zip(found['barlow'][1:], ('grad_z1', 'grad_z2'), strict=True):
            near(got, 2 * twins[name][rank])
        near(found['vicreg'][0], vicreg['loss'][rank])
        for got, name in zip(found['vicreg'][1:], ('grad_x', 'grad_y'), strict=True):
            near(got, vicreg[name][rank])
        for case, (loss, *grads) in zip(golden('barlow')['cases'], split, strict=True):  # the norm sees all images
            near(loss, case['loss'])
            for got, name in zip(grads, ('grad_z1', 'grad_z2'), strict=True):
                near(got, 2 * case[name].chunk(2)[rank])


# ---- the sum of squares that Barlow Twins and VICReg share ----


@pytest.mark.parametrize('rows', [3, 7, 12])
def test_squares_off_the_diagonal(rows):
    """Fewer rows than columns, as many, more."""
    x, y = leaves(*torch.randn(2, rows, 7, generator=torch.Generator().manual_seed(rows), dtype=torch.float64))
    product = x.T @ y
    plain = (product - product.diag().diag()).square().sum()
    found = off_diagonal_squares(x, y)
    near(found, plain.detach())
    for one, other in zip(torch.autograd.grad(found, (x, y)), torch.autograd.grad(plain, (x, y)), strict=True):
        near(one, other)
    torch.autograd.gradcheck(lambda z: off_diagonal_squares(z, z), (x,))


@pytest.mark.parametrize('rows', [40, 200])
def test_squares_in_half_precision_are_those_of_float32(rows):
    """bfloat16 alone would be off by percents where the diagonal is taken from the whole."""
    x = torch.randn(rows, 100, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    wide = x.detach().float().requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = off_diagonal_squares(x, x)
        found.backward()
    expected = off_diagonal_squares(wide, wide)
    expected.backward()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(x.grad.float(), wide.grad, rtol=1e-2, atol=1e-2 * float(wide.grad.abs().max()))
