"""DenseCL against the official code, and what it does more: grids of its own, logits in shares, a late start of the dense loss."""

import pytest
import torch
from torch import nn

from selfsup.contracts import Progress
from selfsup.errors import ShapeError
from selfsup.models.algorithms.contrastive.dense_cl import DenseCL, contrast_in_shares, match_positions, pairs
from selfsup.models.heads.contrastive import ContrastiveHead
from selfsup.models.layers.functional import l2_normalize

from .golden import golden, gradient, leaves, near


class Maps(nn.Module):
    """Passes on maps that stand for images."""

    def forward(self, x):
        return (x,)


def build(channels=10, hidden=8, dim=6, queue_len=12, num_grid=None, **settings):
    neck = {
        'type': 'DenseCLNeck',
        'in_channels': channels,
        'hid_channels': hidden,
        'out_channels': dim,
        'num_grid': num_grid,
    }
    head = {'type': 'ContrastiveHead', 'temperature': 0.2}
    return DenseCL(Maps(), neck, head, queue_len=queue_len, feat_dim=dim, **settings).double().train()


def ours(state):
    """Official names -> ours."""
    places = {'encoder_q.1.': 'neck.', 'encoder_k.1.': 'key_neck.', 'queue': 'queue'}
    renamed = {}
    for key, value in state.items():
        prefix = next(place for place in places if key.startswith(place))
        renamed[places[prefix] + key.removeprefix(prefix)] = value
    return renamed


@pytest.mark.parametrize('number', [0, 1])
def test_a_whole_step(number):
    """The official step moves the key encoder first; ours did so at the end of the step before. Both queues wrap around."""
    case = golden('densecl')['cases'][number]
    grid = None if case['num_grid'] == -1 else case['num_grid']
    model = build(num_grid=grid, momentum=case['momentum'], loss_lambda=case['loss_lambda'])
    result = model.load_state_dict(ours(case['state']), strict=False)
    assert result.missing_keys == ['dense_started'] and result.unexpected_keys == []
    model.after_update([], Progress(4, 10, 5))
    for name, value in ours(case['encoder_k_after']).items():
        near(model.state_dict()[name], value)
    q_map, k_map = (view.flatten(2) for view in case['img'].unbind(1))
    assert torch.equal(match_positions(q_map, k_map), case['indices'])
    step = model.loss(case['img'])
    near(step.losses['loss_single'], case['loss_single'])
    near(step.losses['loss_dense'], case['loss_dense'])
    step.total.backward()
    grads = ours(case['grads'])
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == grads.keys()
    for name in grads:
        near(found[name], grads[name])
    model.after_update([step.carry], Progress(5, 10, 5))
    near(model.queue, case['queue_after'])
    near(model.queue2, case['queue2_after'])
    assert (int(model.queue_ptr), int(model.queue2_ptr)) == (case['ptr_after'], case['ptr2_after'])


def test_logits_in_shares_are_those_at_once():
    torch.manual_seed(0)
    head, queue = ContrastiveHead(0.2), torch.randn(6, 11, dtype=torch.float64)
    rows, positives = leaves(torch.randn(10, 6, dtype=torch.float64), torch.randn(10, 1, dtype=torch.float64))
    whole = contrast_in_shares(head, rows, positives, queue)
    parts = contrast_in_shares(head, rows, positives, queue, at_once=3 * 12)  # 3, 3, 3 and 1 rows
    for one, other in zip(whole, parts, strict=True):
        near(one, other.detach())
    near(gradient(parts[0], rows), gradient(whole[0], rows))
    near(gradient(parts[0], positives), gradient(whole[0], positives))


@pytest.mark.parametrize('grid', [2, 3])
def test_a_grid_that_differs_from_the_map(grid):
    """Maps of 4 x 6 positions, pooled to the grid for the matches as for the dense embeddings."""
    torch.manual_seed(0)
    model, img = build(num_grid=grid), torch.randn(3, 2, 10, 4, 6, dtype=torch.float64)
    _, dense, features = model._embed_densely(model.backbone, model.neck, img[:, 0])
    assert dense.shape == (3, 6, grid**2) and features.shape == (3, 10, grid**2)
    near(features, nn.functional.adaptive_avg_pool2d(img[:, 0], grid).flatten(2))
    step = model.loss(img)
    step.total.backward()
    assert model.neck.mlp2[0].weight.grad.abs().max() > 0


def test_each_position_is_compared_with_its_match():
    q, k = (l2_normalize(torch.randn(2, 3, 4)) for _ in range(2))
    matches = torch.tensor([[3, 3, 0, 1], [2, 0, 0, 3]])
    rows, positives = pairs(q, k, matches)
    for b in range(2):
        for i in range(4):
            assert torch.equal(rows[4 * b + i], q[b, :, i])
            assert positives[4 * b + i].item() == pytest.approx((q[b, :, i] @ k[b, :, matches[b, i]]).item(), abs=1e-6)


def test_a_view_that_is_moved_is_matched_with_where_it_went():
    image = torch.randn(2, 5, 3, 3, dtype=torch.float64)
    moved = 2.5 * image.roll(1, dims=3)  # lengths do not count
    to = torch.arange(9).view(3, 3).roll(-1, dims=1).flatten()  # what was in column x is in column x + 1
    assert torch.equal(match_positions(image.flatten(2), moved.flatten(2)), to.expand(2, 9))


def test_the_dense_loss_starts_late():
    torch.manual_seed(0)
    model, img = build(start_iters=3, loss_lambda=0.3), torch.randn(3, 2, 10, 4, 4, dtype=torch.float64)
    for iteration in range(5):
        model.zero_grad()
        step = model.loss(img)
        step.total.backward()
        started = iteration >= 3
        assert (step.losses['loss_dense'].item() > 0) == started
        assert (model.neck.mlp2[2].weight.grad.abs().max() > 0) == started  # a gradient of 0: all parameters are used
        model.after_update([step.carry], Progress(iteration, 10, 5))
    twin = build(start_iters=3, loss_lambda=0.3)
    twin.load_state_dict(model.state_dict())
    assert twin.dense_started == 1
    waiting, at_once = build(start_iters=3), build()
    at_once.load_state_dict(waiting.state_dict())  # as a run that goes on with start_iters=0
    at_once.after_update([], Progress(0, 10, 5))
    assert at_once.dense_started == 1


def test_a_neck_without_maps_is_refused():
    model = build()
    model.neck = nn.Identity()
    with pytest.raises(ShapeError, match=r'DenseCL needs a neck that gives a vector and a map .*type=DenseCLNeck'):
        model.loss(torch.randn(3, 2, 10, 4, 4, dtype=torch.float64))
    with pytest.raises(ShapeError, match='DenseCL has feat_dim=6, but its neck gives 5 numbers'):
        wrong = build()
        wrong.neck = build(dim=5).neck
        wrong.loss(torch.randn(3, 2, 10, 4, 4, dtype=torch.float64))
    with pytest.raises(ShapeError, match=r'DenseCLNeck reads maps of shape \(B, 10, H, W\), got \(3, 7, 4, 4\)'):
        build().loss(torch.randn(3, 2, 7, 4, 4, dtype=torch.float64))
    with pytest.raises(ShapeError, match='queue of DenseCL holds queue_len=12 keys, fewer than one global batch of 13'):
        build().check_data(100, [13])
