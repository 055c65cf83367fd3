"""Configs of four methods with state of their own, small enough to be started hundreds of times."""

from __future__ import annotations

from pathlib import Path
from pprint import pformat
from typing import Any

from tests.models.tiny_models import tiny_config
from tests.resume.runs import write_images

IMAGES, BATCH = 24, 4  # 6 iterations per epoch
PER_EPOCH = IMAGES // BATCH
EVERY = 2  # iterations between two checkpoints
CLUSTERS = 4
METHODS = ('MoCo', 'ODC', 'SparK', 'SLaK')
RESNET = {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 4, 'out_indices': (4,)}
SLAK = {'type': 'SLaK', 'depths': (1, 1, 1, 1), 'dims': (4, 8, 8, 8), 'kernel_size': (7, 7, 7, 5, 3)}
NORM = [{'type': 'ToTensor'}, {'type': 'Normalize', 'mean': [0.5] * 3, 'std': [0.3] * 3}]
STEPS = {'imgs_per_gpu': BATCH, 'workers_per_gpu': 0}


def view(pixels: int) -> list[dict[str, Any]]:
    """Random steps: a resumed run has to draw the same."""
    return [
        {'type': 'RandomResizedCrop', 'size': pixels, 'scale': (0.3, 1.0)},
        {'type': 'RandomHorizontalFlip'},
        {'type': 'RandomAppliedTrans', 'transforms': [{'type': 'ColorJitter', 'brightness': 0.4}], 'p': 0.8},
        *NORM,
    ]


def _plain(source: dict, kind: str) -> dict[str, Any]:
    """The same images without random steps, to be measured or clustered."""
    return {'type': kind, 'data_source': source, 'pipeline': [{'type': 'Resize', 'size': (32, 32)}, *NORM]}


def _moco(source: dict) -> dict[str, Any]:
    """A queue that is no multiple of the batch, gradients accumulated over two iterations, an evaluation after each epoch."""
    labelled = _plain(source, 'ClassificationDataset')
    return {
        'model': {**tiny_config('MOCO', RESNET, 32), 'queue_len': 22, 'momentum': 0.9},
        'train': {'type': 'ContrastiveDataset', 'pipeline': view(32)},
        'optimizer_config': {'update_interval': 2},
        'custom_hooks': [{'type': 'KNNHook', 'train': labelled, 'test': labelled, 'k': [3], 'imgs_per_gpu': 4}],
    }


def _odc(source: dict) -> dict[str, Any]:
    """A memory bank with labels and centroids that move in every iteration, and a new clustering every second epoch."""
    model = tiny_config('ODC', RESNET, 32)
    model['memory_bank'] = {**model['memory_bank'], 'length': IMAGES, 'min_cluster': 3}
    clustering = {
        'type': 'DeepClusterHook',
        'extractor': {**STEPS, 'dataset': _plain(source, 'ExtractDataset')},
        'clustering': {'type': 'Kmeans', 'k': CLUSTERS, 'pca_dim': -1},
        'unif_sampling': False,
        'reweight': False,
        'init_memory': True,
        'initial': True,
        'interval': 2,
    }
    odc = {
        'type': 'ODCHook',
        'centroids_update_interval': 2,
        'deal_with_small_clusters_interval': 1,
        'evaluate_interval': 3,
        'reweight': True,
        'reweight_pow': 0.5,
    }
    return {
        'model': model,
        'train': {'type': 'DeepClusterDataset', 'pipeline': view(32)},
        'sampling_replace': True,
        'custom_hooks': [clustering, odc],
    }


def _spark(source: dict) -> dict[str, Any]:
    """Masks drawn on each rank, an average of the weights, a schedule with a warm-up."""
    return {
        'model': tiny_config('SparK', RESNET, 32),
        'train': {'type': 'ExtractDataset', 'pipeline': view(64)},
        'optimizer': {'type': 'AdamW', 'lr': 0.01, 'weight_decay': 0.01},
        'custom_hooks': [{'type': 'EMAHook', 'momentum': 0.9}],
    }


def _slak(source: dict) -> dict[str, Any]:
    """Masks from SNIP that move after every second step, images from a worker process, an evaluation after each epoch."""
    head = {'type': 'ClsHead', 'with_avg_pool': True, 'in_channels': 8, 'num_classes': 5}
    sparse = {'type': 'SparseTrainingHook', 'sparsity': 0.4, 'init': 'snip', 'update_interval': 2, 'prune_rate': 0.3}
    return {
        'model': {'type': 'Classification', 'backbone': SLAK, 'head': head},
        'train': {'type': 'ClassificationDataset', 'pipeline': view(32)},
        'workers_per_gpu': 1,
        'optimizer': {'type': 'AdamW', 'lr': 0.01, 'weight_decay': 0.01},
        'custom_hooks': [
            sparse,
            {'type': 'ValidateHook', 'dataset': _plain(source, 'ClassificationDataset'), 'imgs_per_gpu': 4},
        ],
    }


SETTINGS = {'MoCo': _moco, 'ODC': _odc, 'SparK': _spark, 'SLaK': _slak}


def write(folder: Path, method: str, processes: int, epochs: int) -> Path:
    """Path of a config for `method` whose global batch is the same with any number of processes."""
    images = write_images(folder / 'images', IMAGES)
    (images / 'labels.txt').write_text(''.join(f'{i:03d}.jpg {i % 5}\n' for i in range(IMAGES)))
    source = {'type': 'ImageList', 'root': str(images), 'list_file': str(images / 'labels.txt')}
    special = SETTINGS[method](source)
    data = {'imgs_per_gpu': BATCH // processes, 'workers_per_gpu': special.pop('workers_per_gpu', 0), 'drop_last': True}
    if special.pop('sampling_replace', False):
        data['sampling_replace'] = True
    data['train'] = {**special.pop('train'), 'data_source': source}
    journal = [{'type': 'Journal'}, {'type': 'EpochJournal'}, {'type': 'CheckpointHook', 'max_keep_ckpts': 1}]
    settings = {
        'custom_imports': {'imports': ['tests.resume.interruptions.journal']},
        'optimizer': {'type': 'SGD', 'lr': 0.05, 'momentum': 0.9, 'weight_decay': 1e-4},
        'lr_config': {
            'policy': 'CosineAnnealing',
            'min_lr': 0.001,
            'warmup': 'linear',
            'warmup_iters': 4,
            'warmup_ratio': 0.1,
        },
        'checkpoint_config': {'interval': EVERY, 'by_epoch': False, 'max_keep_ckpts': 1},
        'log_config': {'interval': 1},
        'log_processor': {'window_size': 1},  # the loss of each iteration by itself, so that it can be compared
        'total_epochs': epochs,
        **special,
        'data': data,
        'custom_hooks': [*special['custom_hooks'], *journal],
    }
    path = folder / f'{method.lower()}.py'
    lines = ''.join(f'{key} = {pformat(value)}\n' for key, value in settings.items())
    path.write_text(f'"""{method}, to be interrupted."""\n{lines}')
    return path
