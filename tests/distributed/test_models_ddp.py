"""Two gloo processes give exactly what one process gives on the joined batch: losses, gradients and the state after the update.

The networks have no batch norm, whose statistics differ by design; everything is in float64, so that equal means equal.
"""

import copy

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from selfsup import distributed
from selfsup.registry import MODELS

from .helpers import run_ranks

WORLD, PER_RANK = 2, 3
BACKBONE = {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 8, 'out_indices': (4,),
            'norm_cfg': {'type': 'GN', 'num_groups': 4}}
NECK = {'type': 'NonLinearNeckV1', 'in_channels': 64, 'hid_channels': 24, 'out_channels': 16}
CONTRAST = {'type': 'ContrastiveHead', 'temperature': 0.2}
MODEL_CONFIGS = {
    'MOCO': {'neck': NECK, 'head': CONTRAST, 'queue_len': 10, 'feat_dim': 16, 'momentum': 0.9},
    'SimCLR': {'neck': NECK, 'head': CONTRAST},
    'BYOL': {'neck': NECK, 'base_momentum': 0.9,
             'head': {'type': 'LatentPredictHead', 'predictor': {**NECK, 'in_channels': 16, 'with_avg_pool': False}}},
    'Classification': {'head': {'type': 'ClsHead', 'with_avg_pool': True, 'in_channels': 64, 'num_classes': 5}},
}


def build(name, seed=0):
    torch.manual_seed(seed)
    model = MODELS.build({'type': name, 'backbone': copy.deepcopy(BACKBONE), **copy.deepcopy(MODEL_CONFIGS[name])})
    return model.double()


def batches(name):
    """Two global batches; each rank takes its contiguous share."""
    generator = torch.Generator().manual_seed(7)
    size = WORLD * PER_RANK
    for _ in range(2):
        if name == 'Classification':
            img = torch.randn(size, 3, 32, 32, generator=generator, dtype=torch.float64)
            yield {'img': img, 'gt_label': torch.randint(5, (size,), generator=generator)}
        else:
            yield {'img': torch.randn(size, 2, 3, 32, 32, generator=generator, dtype=torch.float64)}


def train(name, seed=0):
    """Two optimizer steps. Returns losses (mean over ranks), gradients of the last step, final state."""
    model = build(name, seed).train()
    wrapped = DistributedDataParallel(model) if distributed.world_size() > 1 else model
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    losses = []
    for i, batch in enumerate(batches(name)):
        step = wrapped({key: distributed.local_rows(value) for key, value in batch.items()})
        optimizer.zero_grad()
        step.total.backward()
        optimizer.step()
        model.after_update([step.carry], progress=i / 2)
        losses.append(distributed.mean(step.total).item())
    grads = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    return losses, grads, model.state_dict()


def train_all():
    """Every method in one pair of processes; each rank starts from its own seed, DDP must make them equal."""
    return {name: train(name, seed=distributed.rank()) for name in MODEL_CONFIGS}


@pytest.fixture(scope='module')
def two_processes():
    return run_ranks(train_all, WORLD)


@pytest.mark.dist
@pytest.mark.parametrize('name', MODEL_CONFIGS)
def test_two_processes_equal_one(two_processes, name):
    losses, grads, state = train(name)
    exact = {'rtol': 1e-7, 'atol': 1e-9}
    for rank in range(WORLD):
        their_losses, their_grads, their_state = two_processes[rank][name]
        assert their_losses == pytest.approx(losses, rel=1e-9)
        assert their_grads.keys() == grads.keys() and len(grads) > 0
        for key in grads:
            assert grads[key].abs().max() > 0
            torch.testing.assert_close(their_grads[key], grads[key], **exact)
        assert their_state.keys() == state.keys()
        for key in state:
            torch.testing.assert_close(their_state[key], state[key], **exact, msg=lambda m, key=key: f'{key}: {m}')
    if name == 'MOCO':
        assert int(state['queue_ptr']) == 2  # 12 keys in a queue of 10


def shuffle_and_back():
    """Rows of images after shuffling, and after bringing them back."""
    torch.manual_seed(distributed.rank())  # only rank 0's draw counts
    x = torch.arange(4.) + 10 * distributed.rank()
    shuffled, order = distributed.shuffle_across_ranks(x)
    return shuffled, order, distributed.unshuffle_across_ranks(shuffled * 2, order)


def gather_gradient():
    """Gradient of a function of all rows, asked for by both ranks with different weights."""
    x = torch.full((2, 1), float(distributed.rank() + 1), requires_grad=True)
    (distributed.gather(x) * torch.tensor([[1.], [2.], [3.], [4.]]) * (distributed.rank() + 1)).sum().backward()
    return x.grad


def collectives():
    return shuffle_and_back(), gather_gradient()


@pytest.mark.dist
def test_collectives():
    (first, first_grad), (second, second_grad) = run_ranks(collectives, 2)
    assert torch.equal(first[1], second[1])
    dealt = torch.cat([first[0], second[0]])
    everyone = torch.tensor([0., 1., 2., 3., 10., 11., 12., 13.])
    assert torch.equal(dealt, everyone[first[1]]) and torch.equal(dealt.sort().values, everyone)
    assert not torch.equal(dealt, everyone)
    assert torch.equal(torch.cat([first[2], second[2]]), everyone * 2)
    assert torch.equal(first_grad, torch.tensor([[3.], [6.]])) and torch.equal(second_grad, torch.tensor([[9.], [12.]]))


def test_one_process_shuffles_nothing():
    x = torch.randn(4, 2)
    shuffled, order = distributed.shuffle_across_ranks(x)
    assert shuffled is x and order.tolist() == [0, 1, 2, 3]
    assert distributed.unshuffle_across_ranks(x, order) is x


def raise_on_rank_one():
    if distributed.rank() == 1:
        raise ValueError('lost on rank one')


def never_ends():
    import time
    time.sleep(60)


@pytest.mark.dist
def test_helper_shows_what_went_wrong():
    with pytest.raises(RuntimeError, match=r'^rank 1:(?s:.)*lost on rank one'):
        run_ranks(raise_on_rank_one, 2, timeout=60)
    with pytest.raises(TimeoutError, match=r'never_ends on 1 ranks was not done after 0\.5 s'):
        run_ranks(never_ends, 1, timeout=0.5)
