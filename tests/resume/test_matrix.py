"""The contract matrix in real training runs: every algorithm x {ResNet-18, a timm ConvNet} x {1, 2 processes} x {fp32, bf16, accumulation}.

Each cell trains from a config file twice: once straight through, once stopped in the middle of an epoch and resumed. The last
checkpoints must be equal bit for bit. Without batch norms, two processes must also end where one ends with the joined batch.
"""

from __future__ import annotations

import copy
from pathlib import Path
from pprint import pformat

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from selfsup.models.algorithms import Algorithm
from selfsup.registry import BACKBONES, MODELS
from tests.distributed.helpers import run_ranks
from tests.models.tiny_models import CLUSTERS, IMAGES, tiny_config

from .runs import differences, register_fixed_negatives, train, write_images

# names of classes, so that an algorithm with two names is run once; detectors read boxes: tests/engine/test_detection_training.py
ALGORITHMS = sorted(
    {MODELS.get(name).__name__ for name in MODELS.names() if issubclass(MODELS.get(name), Algorithm)} - {'Detection'}
)
# what is hidden is drawn by each process; tests/distributed/test_masked_ddp.py compares one process with two on given blocks
# Barlow Twins divides by the deviations of four images, which brings the last digits of float32 forward: test_models_ddp has it in float64
EXACT_ALGORITHMS = [name for name in ALGORITHMS if name not in ('BarlowTwins', 'CNNJEPA', 'FCMAE', 'SparK')]
RESNET = {'type': 'ResNet', 'depth': 18, 'base_channels': 4, 'out_indices': (4,)}
BACKBONE_CONFIGS = {'resnet18': RESNET, 'timm': {'type': 'TIMMBackbone', 'model_name': 'test_efficientnet'}}
EXACT_BACKBONES = {
    'resnet18': {**RESNET, 'norm_cfg': {'type': 'GN', 'num_groups': 2}},
    'timm': {'type': 'TIMMBackbone', 'model_name': 'test_efficientnet_gn'},
}
MODES = {'fp32': (), 'bf16': ('use_fp16=True',), 'interval2': ('optimizer_config.update_interval=2',)}
EXACT_MODES = ('fp32', 'interval2')  # the rounding of bf16 depends on the size of a batch
# 3 iterations per epoch; STOP lies inside the second, at the end of an accumulation window.
EPOCHS, BATCH, STOP = 3, 4, 5
LAST = f'iter_{EPOCHS * IMAGES // BATCH}.pth'
# A difference in the last digit grows with every step, faster with a larger rate.
EXACT = ('total_epochs=2', 'optimizer.lr=0.01')
EXACT_LAST = f'iter_{2 * IMAGES // BATCH}.pth'

NORM = [{'type': 'ToTensor'}, {'type': 'Normalize', 'mean': [0.5] * 3, 'std': [0.3] * 3}]
VIEW = [
    {'type': 'RandomResizedCrop', 'size': 32, 'scale': (0.3, 1.0)},
    {'type': 'RandomHorizontalFlip'},
    {'type': 'RandomAppliedTrans', 'transforms': [{'type': 'ColorJitter', 'brightness': 0.4}], 'p': 0.8},
    *NORM,
]
DATASET_ARGUMENTS = {
    'BYOLDataset': {'pipeline1': VIEW, 'pipeline2': VIEW},
    # patches of 32 pixels: in bfloat16 on a CPU, torch leaves memory as it was in the weight gradient of a strided 3 x 3 convolution of
    # a map of one pixel (at the taps that see padding only), and a ResNet makes such a map of 16 pixels
    'RelativeLocDataset': {
        'pipeline': [{'type': 'Resize', 'size': (102, 102)}],
        'format_pipeline': NORM,
        'patch_jitter': 2,
    },
    'MultiViewDataset': {
        'views': [{'number': 2, 'pipeline': [{**VIEW[0], 'size': 48}, *VIEW[1:]]}, {'number': 3, 'pipeline': VIEW}]
    },
    'ExtractDataset': {'pipeline': [{**VIEW[0], 'size': 64}, *VIEW[1:]]},  # four blocks of 32 pixels
    **{
        f'{kind}Dataset': {'pipeline': VIEW}
        for kind in ('Contrastive', 'Classification', 'RotationPred', 'NPID', 'DeepCluster')
    },
}
# a momentum network that hardly moves would look right without its update; clusters of 3 of 12 images are dissolved all the time
MODEL_CHANGES = {
    'MOCO': {'momentum': 0.9},
    'DenseCL': {'momentum': 0.9},
    'MoCoV3': {'base_momentum': 0.9},
    'BYOL': {'base_momentum': 0.9},
    'CNNJEPA': {'base_momentum': 0.9},
    'DINO': {'base_momentum': 0.9},
    'ODC': {'memory_bank': {'min_cluster': 3}},
    # losses of 16 and 25 at these rates take steps that blow up the last digit, which the statistics of four images do already
    'BarlowTwins': {'scale': 0.02},
    'VICReg': {'invariance_weight': 1.0, 'variance_weight': 1.0, 'covariance_weight': 0.04},
}
DATA_CHANGES = {'ODC': {'sampling_replace': True}}
NO_BATCH_NORM = dict.fromkeys(('NonLinearNeckV0', 'NonLinearNeckV2', 'NonLinearNeckSimCLR'), 'NonLinearNeckV1')


def clustering_hook(source, **arguments):
    """A DeepClusterHook that looks at the same images as training."""
    extractor = {
        'imgs_per_gpu': 4,
        'workers_per_gpu': 0,
        'dataset': {
            'type': 'ExtractDataset',
            'data_source': source,
            'pipeline': [{'type': 'Resize', 'size': (32, 32)}, *NORM],
        },
    }
    return {
        'type': 'DeepClusterHook',
        'extractor': extractor,
        'clustering': {'type': 'Kmeans', 'k': CLUSTERS, 'pca_dim': -1},
        'reweight_pow': 0.5,
        'initial': True,
        **arguments,
    }


def hooks(name, source):
    """What a method needs beside its model. Both clustering methods cluster before and after STOP."""
    odc = {
        'type': 'ODCHook',
        'centroids_update_interval': 2,
        'deal_with_small_clusters_interval': 1,
        'evaluate_interval': 3,
        'reweight': True,
        'reweight_pow': 0.5,
    }
    return {
        'BYOL': [{'type': 'BYOLHook', 'end_momentum': 0.99}],
        'DeepCluster': [clustering_hook(source, unif_sampling=True, reweight=True, interval=1)],
        'ODC': [clustering_hook(source, unif_sampling=False, reweight=False, init_memory=True, interval=2), odc],
    }.get(name, [])


def without_batch_norm(config):
    """`config` of a model with the necks whose batch norm or dropout differs between one and two processes replaced."""
    if not isinstance(config, dict):
        return config
    found = {key: without_batch_norm(value) for key, value in config.items() if key != 'sync_bn'}
    if found.get('type') == 'RelativeLocNeck':
        found.update(type='LinearNeck', in_channels=2 * found['in_channels'])
    if found.get('type') == 'MLPNeck':
        found.update(norm=None, last_norm=None)
    if found.get('type') == 'DINONeck':
        found.update(norm=None)
    if found.get('type') in NO_BATCH_NORM:
        found['type'] = NO_BATCH_NORM[found['type']]
    return found


def model_config(name, backbone, exact=False):
    """Config of the algorithm `name` on a backbone; `exact` leaves nothing in it that depends on the number of processes."""
    channels = BACKBONES.build(backbone).out_channels
    try:
        model = tiny_config(name, copy.deepcopy(backbone), channels)
    except KeyError:
        pytest.fail(
            f'{name} is registered but has no small config: add one to tiny_config in tests/models/tiny_models.py'
        )
    for key, value in MODEL_CHANGES.get(name, {}).items():
        model[key] = {**model[key], **value} if isinstance(value, dict) else value
    if exact:
        model = without_batch_norm(model)
        wrong = [m for m in MODELS.build(model).modules() if isinstance(m, (_BatchNorm, nn.Dropout))]
        assert not wrong, f'{name}: add what replaces {wrong[0]} to without_batch_norm'
    return model


def write(folder, images, name, backbone, exact=False):
    """Path of a config file for `name`."""
    source = {'type': 'ImageList', 'root': str(images), 'list_file': str(images / 'labels.txt')}
    kind = MODELS.get(name).dataset
    if kind not in DATASET_ARGUMENTS:
        pytest.fail(f'{name} reads a {kind}: add its arguments to DATASET_ARGUMENTS in tests/resume/test_matrix.py')
    settings = {
        'model': model_config(name, backbone, exact),
        'data': {
            'imgs_per_gpu': BATCH,
            'workers_per_gpu': 0,
            'drop_last': True,
            **DATA_CHANGES.get(name, {}),
            'train': {'type': kind, 'data_source': source, **DATASET_ARGUMENTS[kind]},
        },
        'custom_hooks': hooks(name, source) + ([{'type': 'FixedNegatives'}] if exact and name == 'NPID' else []),
        'optimizer': {'type': 'SGD', 'lr': 0.05, 'momentum': 0.9, 'weight_decay': 1e-4},
        'optimizer_config': {'update_interval': 1},
        'lr_config': {
            'policy': 'CosineAnnealing',
            'min_lr': 0.001,
            'warmup': 'linear',
            'warmup_iters': 4,
            'warmup_ratio': 0.1,
        },
        'checkpoint_config': {'interval': 1, 'by_epoch': False, 'max_keep_ckpts': 1},
        'log_config': {'interval': 2},
        'total_epochs': EPOCHS,
    }
    path = folder / f'{name}.py'
    path.write_text(
        '"""A cell of the contract matrix."""\n'
        + ''.join(f'{key} = {pformat(value)}\n' for key, value in settings.items())
    )
    return path


@pytest.fixture(scope='module', params=BACKBONE_CONFIGS)
def configs(request, tmp_path_factory):
    """Config files by (algorithm, exact), and a folder for the runs, for one backbone."""
    folder = tmp_path_factory.mktemp(request.param)
    images = write_images(folder / 'images', IMAGES)  # of 5 classes, more than the heads of the pretext tasks have
    (images / 'labels.txt').write_text(''.join(f'{i:03d}.jpg {i % 5}\n' for i in range(IMAGES)))
    (folder / 'exact').mkdir()
    files = {(name, False): write(folder, images, name, BACKBONE_CONFIGS[request.param]) for name in ALGORITHMS}
    files |= {
        (name, True): write(folder / 'exact', images, name, EXACT_BACKBONES[request.param], exact=True)
        for name in EXACT_ALGORITHMS
    }
    return files, folder


def run_cell(config, folder, *options, launcher='none'):
    """Train straight through, saving once, and in two parts, saving every iteration."""

    def start(part, *more, **how):  # no two runs have one name: mmengine would let them share their logs
        train(config, work_dir(folder, part), *options, *more, launcher=launcher, curves=False, **how)

    start('straight', 'checkpoint_config.interval=99')
    start('stopped', stop_after=STOP)
    start('resumed', resume_from=str(work_dir(folder, 'stopped') / f'iter_{STOP}.pth'))


def work_dir(folder, part):
    """Of one run of a cell."""
    return folder / f'{folder.name}-{part}'


def run_exact(config, folder, *options, launcher='none'):
    register_fixed_negatives()
    train(config, folder, *options, *EXACT, 'checkpoint_config.interval=99', launcher=launcher, curves=False)


def run_group(files: dict[tuple[str, bool], Path], folder: Path) -> None:
    """All cells of one backbone in one pair of processes."""
    for (name, exact), config in files.items():
        for mode in EXACT_MODES if exact else MODES:
            options = (*MODES[mode], f'data.imgs_per_gpu={BATCH // 2}')
            try:
                (run_exact if exact else run_cell)(
                    config, folder / f'{name}-{mode}-{exact}', *options, launcher='pytorch'
                )
            except Exception as error:
                raise RuntimeError(f'cell {name}-{mode}, exact={exact}') from error


@pytest.fixture(scope='module')
def two_processes(configs):
    files, folder = configs
    run_ranks(run_group, 2, files, folder / 'two', timeout=400)
    return folder / 'two'


def check_cell(name, folder):
    """Both ways end in the same state, and the clusterings happened on both sides of the stop."""
    straight, stopped, resumed = (work_dir(folder, part) for part in ('straight', 'stopped', 'resumed'))
    assert not (stopped / LAST).exists()
    assert differences(straight / LAST, resumed / LAST) == []
    saved = torch.load(resumed / LAST, weights_only=True)
    assert saved['meta']['iter'] == EPOCHS * IMAGES // BATCH
    assert [key for key, value in saved['state_dict'].items() if not value.isfinite().all()] == []
    before, after = {'DeepCluster': ([0, 1], [2]), 'ODC': ([0], [2])}.get(name, ([], []))
    for run, epochs in ((straight, before + after), (stopped, before), (resumed, after)):
        assert sorted(p.name for p in run.glob('cluster_epoch_*.npy')) == [f'cluster_epoch_{n}.npy' for n in epochs]
    if name == 'ODC':
        labels = saved['state_dict']['memory_bank.label_bank']
        # The memory moved after its second start.
        assert labels.tolist() != np.load(resumed / 'cluster_epoch_2.npy').tolist()
        assert labels.bincount(minlength=CLUSTERS).min() > 0


@pytest.mark.slow
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('name', ALGORITHMS)
def test_one_process(configs, tmp_path, name, mode):
    run_cell(configs[0][name, False], tmp_path, *MODES[mode])
    check_cell(name, tmp_path)


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('name', ALGORITHMS)
def test_two_processes(two_processes, name, mode):
    check_cell(name, two_processes / f'{name}-{mode}-False')


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.parametrize('mode', EXACT_MODES)
@pytest.mark.parametrize('name', EXACT_ALGORITHMS)
def test_two_processes_end_where_one_ends(configs, two_processes, tmp_path, name, mode):
    """Weights, momentum of the optimizer, networks that follow, queue, bank, centroids, labels; in float32, whose sums differ in order."""
    run_exact(configs[0][name, True], tmp_path / 'one', *MODES[mode])
    folders = (tmp_path / 'one', two_processes / f'{name}-{mode}-True')
    one, two = (torch.load(p / EXACT_LAST, weights_only=True) for p in folders)
    assert two['meta']['fingerprint']['world_size'] == 2 and two['meta']['fingerprint']['batch_size'] == BATCH // 2
    assert one['state_dict'].keys() == two['state_dict'].keys()
    for key, value in one['state_dict'].items():
        check_close(two['state_dict'][key], value, 1e-4, key)
    states = one['optimizer']['state']
    assert states and states.keys() == two['optimizer']['state'].keys()
    for number, state in states.items():
        check_close(
            two['optimizer']['state'][number]['momentum_buffer'],
            state['momentum_buffer'],
            1e-3,
            f'momentum of parameter {number}',
        )
    if name in ('DeepCluster', 'ODC'):
        assert torch.equal(one['deep_cluster']['labels'], two['deep_cluster']['labels'])


def check_close(found, expected, tolerance, what):
    """Equal up to `tolerance` times the largest number; whole numbers are equal."""
    atol = tolerance * float(expected.abs().max()) if expected.is_floating_point() else 0
    torch.testing.assert_close(found, expected, rtol=0, atol=atol, msg=lambda m: f'{what}: {m}')
