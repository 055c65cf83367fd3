"""Small overrides under which a config of any method takes two optimizer steps on a folder of 40 images."""

from __future__ import annotations

import gc
import math
from pathlib import Path
from typing import Any

import torch

from benchmarks.detection.miniature import CLASSES, write_miniature
from selfsup import config as configs
from selfsup import engine
from tests.resume.runs import write_images

IMAGES, CLUSTERS, STEPS = 40, 4, 2
UNLABELLED, LABELLED, VALIDATION = 'list.txt', 'labelled.txt', 'val.txt'


def image_folder(folder: Path) -> Path:
    """Two classes of 20 images each, of 40 x 36 pixels, with lists: of all, of all with labels, of 4 with labels."""
    from PIL import Image

    names = []
    for name in ('a', 'b'):
        write_images(folder / name, IMAGES // 2)
        (folder / name / 'list.txt').unlink()
        for file in sorted((folder / name).iterdir()):
            Image.open(file).resize((40, 36)).save(file)
            names.append(f'{name}/{file.name}')
    labels = [f'{name} {int(name.startswith("b"))}' for name in names]
    for file, lines in ((UNLABELLED, names), (LABELLED, labels), (VALIDATION, labels[::10])):
        (folder / file).write_text('\n'.join(lines) + '\n')
    write_miniature(_shapes(folder), {'train': 6})
    return folder


def _shapes(images: Path) -> Path:
    """Images with boxes, beside the folder of images: in it they would be a class."""
    return images.with_name(f'{images.name}_shapes')


def _source(dataset: dict, path: str, images: Path, labelled: str = LABELLED) -> list[str]:
    """Options that let a data set read the folder: by lists where its source has them."""
    if 'list_file' not in dataset['data_source']:
        return [f"{path}.data_source=dict(type='ImageFolder', root='{images}')"]
    file = labelled if dataset['type'] == 'ClassificationDataset' else UNLABELLED
    return [f'{path}.data_source.root={images}', f'{path}.data_source.list_file={images / file}']


def options(path: Path, images: Path) -> list[str]:
    """`--cfg-options`: the folder's images at 64 pixels, two per iteration, short banks, few clusters."""
    cfg = configs.load(str(path)).cfg
    if cfg['model']['type'] == 'Detection':
        return _detection(cfg, _shapes(images))
    model, interval = cfg['model'], min(2, (cfg.get('optimizer_config') or {}).get('update_interval', 1))
    multi_head = model.get('head', {}).get('type') == 'MultiClsHead'
    found = [
        *_source(cfg['data']['train'], 'data.train', images),
        'data.imgs_per_gpu=2',
        'data.workers_per_gpu=0',
        'total_epochs=None',
        f'total_iters={STEPS * interval}',
        'log_config.interval=1',
    ]
    if interval > 1:
        found.append(f'optimizer_config.update_interval={interval}')
    for key, value in (('queue_len', 8), ('neg_num', 16)):
        found += [f'model.{key}={value}'] if model.get(key) else []
    for key, value in (('length', IMAGES), ('num_classes', CLUSTERS), ('min_cluster', 2)):
        found += [f'model.memory_bank.{key}={value}'] if key in model.get('memory_bank', {}) else []
    if model['type'] in ('SparK', 'FCMAE'):
        found += ['model.decoder.width=32', *_shallow(model['backbone'])]
    if model['backbone']['type'] in ('ConvNeXt', 'ConvNeXtV2', 'SLaK') and model['type'] == 'Classification':
        last = int(32 * model['backbone'].get('width_factor', 1))
        found += [*_shallow(model['backbone']), f'model.head.in_channels={last}']
    # As deep, for its layer decay.
    if model['backbone'].get('model_name', '').startswith('resnet') and model['type'] == 'Classification':
        found += ['model.backbone.channels=[8, 16, 24, 32]', 'model.head.in_channels=128']
    if model['type'] == 'DINO':
        found.append('model.neck.out_channels=64')
    if rules := (cfg.get('optimizer_config') or {}).get('freeze'):  # both steps would lie before the end
        found.append(f'optimizer_config.freeze={[{"parameters": rule["parameters"], "iters": 1} for rule in rules]}')
    if model['type'] in ('DeepCluster', 'ODC'):
        found.append(f'model.head.num_classes={CLUSTERS}')
    if not multi_head:  # its windows are made for 224 pixels
        found += _smaller(cfg['data']['train'], 'data.train')
    if any(hook['type'] == 'KNNHook' for hook in cfg.get('custom_hooks', [])):
        found.append(f'custom_hooks={[hook for hook in cfg["custom_hooks"] if hook["type"] != "KNNHook"]}')
    for i, hook in enumerate(hook for hook in cfg.get('custom_hooks', []) if hook['type'] != 'KNNHook'):
        found += _hook(hook, f'custom_hooks.{i}', images, interval)
        if hook['type'] == 'ValidateHook' and not multi_head:
            found += _smaller(hook['dataset'], f'custom_hooks.{i}.dataset')
    return found


def _detection(cfg: dict, shapes: Path) -> list[str]:
    """Images of 64 pixels with three classes of objects, few proposals, in either format."""
    found = [
        'data.imgs_per_gpu=2',
        'data.workers_per_gpu=0',
        'total_epochs=None',
        f'total_iters={STEPS}',
        'log_config.interval=1',
        'model.num_classes=3',
        'model.box_channels=32',
        'model.neck.out_channels=32',
        'model.rcnn=dict(rpn_post_nms_top_n_train=50, rpn_post_nms_top_n_test=20)',
        'custom_hooks.0.workers_per_gpu=0',
    ]
    for path, dataset in (
        ('data.train', cfg['data']['train']),
        ('data.val', cfg['data']['val']),
        ('custom_hooks.0.dataset', cfg['custom_hooks'][0]['dataset']),
    ):
        found += [
            f'{path}.pipeline.{i}.min_size=64'
            for i, step in enumerate(dataset['pipeline'])
            if step['type'] == 'RandomShortestSize'
        ]
        if dataset['data_source']['type'] == 'COCO':
            found += [
                f'{path}.data_source.root={shapes}/coco/train',
                f'{path}.data_source.ann_file={shapes}/coco/train.json',
            ]
        else:
            found += [
                f'{path}.data_source.root={shapes}/voc',
                f"{path}.data_source.splits=['VOC2007/train']",
                f'{path}.data_source.classes={list(CLASSES)}',
            ]
    backbone = cfg['model']['backbone']
    if backbone['type'] != 'ConvNeXt':
        return found
    return [*found, *_shallow(backbone), 'model.neck.in_channels=[8, 16, 24, 32]']


def _hook(hook: dict[str, Any], path: str, images: Path, interval: int) -> list[str]:
    if hook['type'] == 'BYOLHook':
        return [f'{path}.update_interval={interval}']
    if hook['type'] == 'ValidateHook':
        return [
            *_source(hook['dataset'], f'{path}.dataset', images, VALIDATION),
            f'{path}.imgs_per_gpu=2',
            f'{path}.workers_per_gpu=0',
        ]
    if hook['type'] == 'DeepClusterHook':
        extractor, pca_dim = hook['extractor'], min(8, hook['clustering']['pca_dim'])
        pipeline = [
            {'type': 'Resize', 'size': (64, 64)},
            *(s for s in extractor['dataset']['pipeline'] if s['type'] not in ('Resize', 'CenterCrop')),
        ]
        return [
            *_source(extractor['dataset'], f'{path}.extractor.dataset', images),
            f'{path}.extractor.dataset.pipeline={pipeline}',
            f'{path}.extractor.imgs_per_gpu=10',
            f'{path}.extractor.workers_per_gpu=0',
            f'{path}.clustering.k={CLUSTERS}',
            f'{path}.clustering.pca_dim={pca_dim}',
        ]
    if hook['type'] == 'ReconstructionHook':
        if 'dataset' not in hook:  # those of training
            return [f'{path}.num_images=2']
        pipeline = [{'type': 'Resize', 'size': (64, 64)}, *hook['dataset']['pipeline'][-2:]]
        return [
            *_source(hook['dataset'], f'{path}.dataset', images),
            f'{path}.dataset.pipeline={pipeline}',
            f'{path}.num_images=2',
        ]
    return []


def _shallow(backbone: dict) -> list[str]:
    """One narrow block per stage: the largest network would take 10 GB with its optimizer."""
    depths, dims = ('layers', 'channels') if backbone.get('model_name', '').startswith('resnet') else ('depths', 'dims')
    if backbone['type'] == 'ResNet':
        return []
    return [f'model.backbone.{depths}=[1, 1, 1, 1]', f'model.backbone.{dims}=[8, 16, 24, 32]']


def _smaller(dataset: dict, path: str) -> list[str]:
    if 'views' in dataset:
        sizes = sorted({step['size'] for view in dataset['views'] for step in view['pipeline'] if 'size' in step})
        return [
            f'{path}.views.{i}.pipeline.{j}.size={64 if step["size"] == sizes[-1] else 48}'
            for i, view in enumerate(dataset['views'])
            for j, step in enumerate(view['pipeline'])
            if step['type'] == 'RandomResizedCrop'
        ]
    names = [name for name in dataset if name.startswith('pipeline')]
    resized = (
        ('RandomResizedCrop', 'Resize', 'CenterCrop')
        if dataset['type'] == 'ClassificationDataset'
        else ('RandomResizedCrop',)
    )
    return [
        f'{path}.{name}.{i}.size=64'
        for name in names
        for i, step in enumerate(dataset[name])
        if step['type'] in resized
    ]


def check(path: Path, images: Path, work_dir: Path, *more: str, launcher: str = 'none') -> engine.Runner:
    """Train two steps, with `more` options; everything is finite and every trainable parameter was stepped."""
    gc.collect()  # a runner is part of cycles: the one before would stay in memory, and the next, to gigabytes
    torch.set_num_threads(1)
    loaded = configs.load(str(path), [*options(path, images), *more])
    compiled = {**configs.compile_config(loaded), 'work_dir': str(work_dir)}
    runner = engine.train(compiled, loaded, launcher=launcher)
    interval = runner.optim_wrapper.update_interval
    assert runner.iter == STEPS * interval
    assert all(
        torch.isfinite(v).all() for v in (*runner.model.parameters(), *runner.model.buffers()) if v.is_floating_point()
    )
    # SGD keeps its momentum per parameter: a step was taken for every trainable one
    optimizer = runner.optim_wrapper.optimizer
    stepped = [
        p for group in optimizer.param_groups if group.get('momentum', 1) for p in group['params'] if p.requires_grad
    ]
    assert stepped and all(p in optimizer.state for p in stepped)
    # a cosine over two iterations has ended at 0
    assert all(math.isfinite(g['lr']) and g['lr'] >= 0 for g in optimizer.param_groups)
    return runner
