"""Two gloo processes give exactly what one process gives on the joined batch: losses, gradients and the state after the update.

The networks have no batch norm, whose statistics differ by design, and nothing is drawn at random per process; everything is in
float64, so that equal means equal.
"""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from selfsup import distributed
from selfsup.contracts import Progress
from selfsup.models.memories import ODCMemory
from selfsup.models.memories.sharded import ShardedRows
from selfsup.models.memories.two_means import two_means
from selfsup.registry import MODELS

from .helpers import run_ranks

GOLDEN = Path(__file__).parents[1] / 'golden' / 'heads.pt'
WORLD, PER_RANK = 2, 3
IMAGES, CLUSTERS = 25, 4  # an odd number: the shares of two processes differ
BACKBONE = {
    'type': 'ResNet',
    'depth': 18,
    'stage_blocks': (1, 1, 1, 1),
    'base_channels': 8,
    'out_indices': (4,),
    'norm_cfg': {'type': 'GN', 'num_groups': 4},
}
NECK = {'type': 'NonLinearNeckV1', 'in_channels': 64, 'hid_channels': 24, 'out_channels': 16}
PREDICTOR = {**NECK, 'in_channels': 16, 'with_avg_pool': False}
MLP = {**NECK, 'type': 'MLPNeck', 'norm': None}
CONTRAST = {'type': 'ContrastiveHead', 'temperature': 0.2}
MODEL_CONFIGS = {
    'MOCO': {'neck': NECK, 'head': CONTRAST, 'queue_len': 10, 'feat_dim': 16, 'momentum': 0.9},
    'SimCLR': {'neck': NECK, 'head': CONTRAST},
    'BYOL': {
        'neck': NECK,
        'base_momentum': 0.9,
        'head': {'type': 'LatentPredictHead', 'predictor': {**NECK, 'in_channels': 16, 'with_avg_pool': False}},
    },
    'SimSiam': {'neck': MLP, 'predictor': {**MLP, 'in_channels': 16, 'with_avg_pool': False}},
    'BarlowTwins': {'neck': MLP},
    'VICReg': {'neck': MLP},
    'DINO': {
        'neck': {'type': 'DINONeck', 'in_channels': 64, 'hid_channels': 24, 'out_channels': 12},
        'base_momentum': 0.9,
        'warmup_teacher_temp_epochs': 2,
        'teacher_temp': 0.07,
    },
    'LeJEPA': {'neck': {**NECK, 'type': 'MLPNeck', 'norm': None}, 'num_slices': 8},
    'SwAV': {  # the first step fills the queue, in the second it takes part; 5 rows are no even shares
        'neck': {**NECK, 'type': 'MLPNeck', 'norm': None},
        'num_prototypes': 9,
        'feat_dim': 16,
        'queue_len': 5,
        'queue_start': 0,
    },
    'Classification': {'head': {'type': 'ClsHead', 'with_avg_pool': True, 'in_channels': 64, 'num_classes': 5}},
    'RotationPred': {'head': {'type': 'ClsHead', 'with_avg_pool': True, 'in_channels': 64, 'num_classes': 4}},
    'RelativeLoc': {
        'neck': {'type': 'RelativeLocNeck', 'in_channels': 64, 'out_channels': 24},
        'head': {'type': 'ClsHead', 'in_channels': 24, 'num_classes': 8},
    },
    'NPID': {
        'neck': NECK,
        'head': CONTRAST,
        'neg_num': 7,
        'memory_bank': {'type': 'SimpleMemory', 'length': IMAGES, 'feat_dim': 16},
    },
    'DeepCluster': {
        'neck': {'type': 'AvgPoolNeck'},
        'head': {'type': 'ClsHead', 'in_channels': 64, 'num_classes': CLUSTERS},
    },
    'ODC': {
        'neck': {**NECK, 'type': 'NonLinearNeckV0'},
        'head': {'type': 'ClsHead', 'in_channels': 16, 'num_classes': CLUSTERS},
        'memory_bank': {
            'type': 'ODCMemory',
            'length': IMAGES,
            'feat_dim': 16,
            'num_classes': CLUSTERS,
            'min_cluster': 4,
        },
    },
    'SparK': {
        'neck': {'type': 'SparKNeck', 'levels': 1, 'norm': 'ln'},
        'head': {'type': 'MaskedPixelHead'},
        'decoder': {'type': 'LightDecoder', 'width': 32, 'norm_cfg': {'type': 'GN', 'num_groups': 1}},
    },
    'FCMAE': {'decoder': {'type': 'ConvNeXtV2Decoder', 'width': 16}, 'head': {'type': 'MaskedPixelHead'}},
    'DenseCL': {
        'neck': {**NECK, 'type': 'DenseCLNeck', 'num_grid': 2},
        'head': CONTRAST,
        'queue_len': 10,
        'feat_dim': 16,
        'momentum': 0.9,
    },
    'MoCoV3': {'neck': NECK, 'predictor': PREDICTOR, 'base_momentum': 0.9},
    'NNCLR': {'neck': NECK, 'predictor': PREDICTOR, 'queue_len': 10, 'feat_dim': 16},
}
MASKED = ('SparK', 'FCMAE')
LABELS = torch.arange(IMAGES) % 7 % CLUSTERS  # classes 0 to 2 twice as large as 3


def build(name, seed=0):
    torch.manual_seed(seed)
    model = MODELS.build({'type': name, 'backbone': copy.deepcopy(BACKBONE), **copy.deepcopy(MODEL_CONFIGS[name])})
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for name_of, norm in list(model.named_modules()):
        if isinstance(norm, nn.BatchNorm1d):
            model.set_submodule(name_of, nn.Identity())
    if name == 'NPID':
        model.draw_negatives = lambda idx: (idx[:, None] * 3 + torch.arange(7)) % IMAGES
    return model.double()


def start_clusters(name, model):
    """What the hook of a clustering method does before training."""
    if name == 'ODC':
        features = torch.randn(IMAGES, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64).relu()
        model.memory_bank.init_memory(features if distributed.is_main() else None, LABELS)
        model.set_reweight()
    if name == 'DeepCluster':
        model.set_reweight(LABELS)


def move_clusters(name, model):
    """What the hook of ODC does after every iteration."""
    if name == 'ODC':
        model.memory_bank.update_centroids()
        model.memory_bank.deal_with_small_clusters()
        model.set_reweight()


def uneven_blocks(generator, size):
    """Visible blocks (size, 2, 2) of which the first process sees more than the second: 3 of 4 per image against 1."""
    order = torch.rand(size, 4, generator=generator).argsort(dim=1)
    number = torch.where(torch.arange(size) < PER_RANK, 3, 1)
    return (order < number[:, None]).view(size, 2, 2)


def batches(name):
    """Two global batches; each rank takes its contiguous share."""
    generator = torch.Generator().manual_seed(7)
    size = WORLD * PER_RANK
    pixels = 64 if name in MASKED else 32
    views = {
        'BYOLDataset': (2, 3),
        'ContrastiveDataset': (2, 3),
        'RotationPredDataset': (4, 3),
        'RelativeLocDataset': (8, 6),
    }.get(MODELS.get(name).dataset, (3,))
    for _ in range(2):
        img = torch.randn(size, *views, pixels, pixels, generator=generator, dtype=torch.float64)
        if MODELS.get(name).dataset == 'MultiViewDataset':
            img = [
                torch.randn(size, views, 3, side, side, generator=generator, dtype=torch.float64)
                for views, side in ((2, 32), (3, 16))
            ]
        idx = torch.randint(IMAGES, (size,), generator=generator)
        idx[-1] = idx[0]  # drawn with replacement: both processes meet one image
        yield {
            'img': img,
            **{
                'Classification': {'gt_label': torch.randint(5, (size,), generator=generator)},
                'RotationPred': {'rot_label': torch.arange(4).repeat(size, 1)},
                'RelativeLoc': {'patch_label': torch.arange(8).repeat(size, 1)},
                **{masked: {'visible': uneven_blocks(generator, size)} for masked in MASKED},
                'NPID': {'idx': idx},
                'ODC': {'idx': idx},
                'DeepCluster': {'idx': idx, 'pseudo_label': LABELS[idx]},
            }.get(name, {}),
        }


def own_share(value):
    """Rows of this process, of a tensor or of each group of views."""
    return distributed.local_rows(value) if torch.is_tensor(value) else [distributed.local_rows(one) for one in value]


def train(name, seed=0):
    """Two optimizer steps. Returns losses (mean over ranks), gradients of the last step, final state."""
    model = build(name, seed).train()
    wrapped = DistributedDataParallel(model) if distributed.world_size() > 1 else model
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    start_clusters(name, model)
    losses = []
    for i, batch in enumerate(batches(name)):
        step = wrapped({key: own_share(value) for key, value in batch.items()})
        optimizer.zero_grad()
        step.total.backward()
        optimizer.step()
        model.after_update([step.carry], Progress(i, 2, 1))
        move_clusters(name, model)
        losses.append(distributed.mean(step.total).item())
    grads = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    if name == 'ODC':
        check_reloading(model)
    return losses, grads, {key: 'elsewhere' if value.is_meta else value for key, value in model.state_dict().items()}


def check_reloading(model):
    """What was gathered for a checkpoint gives every process its share again."""
    saved = distributed.broadcast_object({k: v for k, v in model.state_dict().items() if not v.is_meta})
    twin = build('ODC', seed=9)
    twin.load_state_dict(saved)
    assert torch.equal(twin.memory_bank.feature_bank.local, model.memory_bank.feature_bank.local)
    assert len(twin.memory_bank.feature_bank.local) == len(range(distributed.rank(), IMAGES, distributed.world_size()))


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
            if key == 'memory_bank.feature_bank.rows' and rank > 0:
                assert their_state[key] == 'elsewhere'  # one whole copy is enough
                continue
            torch.testing.assert_close(their_state[key], state[key], **exact, msg=lambda m, key=key: f'{key}: {m}')
    if name in ('DenseCL', 'MOCO', 'NNCLR'):
        assert int(state['queue_ptr']) == 2  # 12 keys in a queue of 10
    if name == 'ODC':
        assert not torch.equal(state['memory_bank.label_bank'], LABELS)
        assert state['loss_weight'].unique().numel() > 1


def shuffle_and_back():
    """Rows of images after shuffling, and after bringing them back."""
    torch.manual_seed(distributed.rank())  # only rank 0's draw counts
    x = torch.arange(4.0) + 10 * distributed.rank()
    shuffled, order = distributed.shuffle_across_ranks(x)
    return shuffled, order, distributed.unshuffle_across_ranks(shuffled * 2, order)


def gather_gradient():
    """Gradient of a function of all rows, asked for by both ranks with different weights."""
    x = torch.full((2, 1), float(distributed.rank() + 1), requires_grad=True)
    (distributed.gather(x) * torch.tensor([[1.0], [2.0], [3.0], [4.0]]) * (distributed.rank() + 1)).sum().backward()
    return x.grad


def sharded_table():
    """Every way in and out of a table of 7 rows."""
    table = torch.arange(14.0).reshape(7, 2)
    rows = ShardedRows(7, 2)
    rows.fill(table if distributed.is_main() else None)
    rows.put(torch.tensor([4, 1, 4]), torch.tensor([[-1.0, -2.0], [-3.0, -4.0], [-1.0, -2.0]]))
    table[4], table[1] = torch.tensor([-1.0, -2.0]), torch.tensor([-3.0, -4.0])
    index = torch.tensor([6, 0, 4, 4, 1])
    assert torch.equal(rows.take(index), table[index])
    mine, own = rows.own(index)
    assert torch.equal(own, table[index[mine]]) and torch.equal(
        rows.local, table[distributed.rank() :: distributed.world_size()]
    )
    whole = rows.whole()
    assert whole.shape == (7, 2) and (torch.equal(whole, table) if distributed.is_main() else whole.is_meta)
    half = rows.half().double()  # moves with its module
    assert half.local.dtype == torch.float64


def split_in_two():
    """2-means of rows of which process 1 has none."""
    x = torch.cat([torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.full((4, 3), 9.0)])
    part = two_means(x if distributed.is_main() else x[:0])
    alone = two_means(torch.ones(3, 3) if distributed.is_main() else x[:0])
    return part, alone


def small_clusters():
    """Labels and centroids after two of five clusters dissolved and were filled again."""
    case = torch.load(GOLDEN, weights_only=True)['odc_small_clusters']
    memory = ODCMemory(**case['config']).double()
    memory.load_state_dict(
        {
            'feature_bank.rows': case['feature_bank'],
            'label_bank': case['label_bank'],
            'centroids': case['centroids'],
            'initialized': torch.tensor(True),
        }
    )
    memory.deal_with_small_clusters()
    return memory.label_bank, memory.centroids


def collectives():
    sharded_table()
    return shuffle_and_back(), gather_gradient(), split_in_two(), small_clusters()


def test_one_process_keeps_a_whole_table():
    sharded_table()


@pytest.mark.dist
def test_collectives():
    (first, first_grad, split, clusters), (second, second_grad, nothing, their_clusters) = run_ranks(collectives, 2)
    labels, centroids = small_clusters()
    for found in (clusters, their_clusters):
        assert torch.equal(found[0], labels)
        torch.testing.assert_close(found[1], centroids, rtol=1e-12, atol=1e-14)
    assert split[0].int().diff().abs().sum() == 1 and split[0][4] != split[0][5] and len(nothing[0]) == 0
    assert split[1] is None and nothing[1] is None
    assert torch.equal(first[1], second[1])
    dealt = torch.cat([first[0], second[0]])
    everyone = torch.tensor([0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0])
    assert torch.equal(dealt, everyone[first[1]]) and torch.equal(dealt.sort().values, everyone)
    assert not torch.equal(dealt, everyone)
    assert torch.equal(torch.cat([first[2], second[2]]), everyone * 2)
    assert torch.equal(first_grad, torch.tensor([[3.0], [6.0]])) and torch.equal(
        second_grad, torch.tensor([[9.0], [12.0]])
    )


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
