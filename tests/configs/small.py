"""Small overrides under which a config of any method takes two optimizer steps on a folder of 40 images."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from selfsup import config as configs
from tests.resume.runs import train, write_images

IMAGES, CLUSTERS, STEPS = 40, 4, 2


def image_folder(folder: Path) -> Path:
    """Two classes of 20 images each, of 40 x 36 pixels."""
    from PIL import Image

    for name in ('a', 'b'):
        write_images(folder / name, IMAGES // 2)
        (folder / name / 'list.txt').unlink()
        for file in (folder / name).iterdir():
            Image.open(file).resize((40, 36)).save(file)
    return folder


def options(path: Path, images: Path) -> list[str]:
    """`--cfg-options`: the folder's images at 64 pixels, two per step, short banks, few clusters, no validation."""
    cfg = configs.load(str(path)).cfg
    model = cfg['model']
    source = {'type': 'ImageFolder', 'root': str(images)}
    found = [f'data.train.data_source={source}', 'data.imgs_per_gpu=2', 'data.workers_per_gpu=0', 'total_epochs=None',
             f'total_iters={STEPS}', 'log_config.interval=1']
    if cfg.get('optimizer_config'):
        found.append('optimizer_config.update_interval=1')
    for key, value in (('queue_len', 6), ('neg_num', 16)):
        found += [f'model.{key}={value}'] if key in model else []
    for key, value in (('length', IMAGES), ('num_classes', CLUSTERS), ('min_cluster', 2)):
        found += [f'model.memory_bank.{key}={value}'] if key in model.get('memory_bank', {}) else []
    if model['type'] in ('SparK', 'FCMAE'):
        found += ['model.decoder.width=32', *_shallow(model['backbone'])]
    if model['type'] in ('DeepCluster', 'ODC'):
        found.append(f'model.head.num_classes={CLUSTERS}')
    if model['head']['type'] != 'MultiClsHead':  # its windows are made for 224 pixels
        found += _smaller(cfg['data']['train'], 'data.train')
    hooks = [h for h in cfg.get('custom_hooks', []) if h['type'] not in ('KNNHook', 'ValidateHook')]
    for hook in hooks:
        if hook['type'] == 'ReconstructionHook':
            hook.update(num_images=2, dataset={**hook['dataset'], 'data_source': source})
            hook['dataset']['pipeline'] = [{'type': 'Resize', 'size': (64, 64)}, *hook['dataset']['pipeline'][-2:]]
        if hook['type'] == 'DeepClusterHook':
            hook['extractor'].update(imgs_per_gpu=10, workers_per_gpu=0)
            hook['extractor']['dataset'].update(data_source=source, pipeline=hook['extractor']['dataset']['pipeline'][1:])
            hook['extractor']['dataset']['pipeline'][0] = {'type': 'Resize', 'size': (64, 64)}
            hook['clustering'].update(k=CLUSTERS, pca_dim=min(8, hook['clustering']['pca_dim']))
    return [*found, f'custom_hooks={hooks}']


def _shallow(backbone: dict) -> list[str]:
    """One narrow block per stage: the largest network would take 10 GB with its optimizer."""
    depths, dims = ('layers', 'channels') if backbone.get('model_name', '').startswith('resnet') else ('depths', 'dims')
    if backbone['type'] == 'ResNet':
        return []
    return [f'model.backbone.{depths}=[1, 1, 1, 1]', f'model.backbone.{dims}=[8, 16, 24, 32]']


def _smaller(dataset: dict, path: str) -> list[str]:
    names = [name for name in dataset if name.startswith('pipeline')]
    return [f'{path}.{name}.{i}.size=64' for name in names for i, step in enumerate(dataset[name]) if step['type'] == 'RandomResizedCrop']


def check(path: Path, images: Path, work_dir: Path, launcher: str = 'none') -> None:
    """Train two steps; everything is finite and every trainable parameter was stepped."""
    train(path, work_dir, *options(path, images), launcher=launcher)
    saved = torch.load(work_dir / f'iter_{STEPS}.pth', weights_only=True)
    assert saved['meta']['iter'] == STEPS
    assert all(torch.isfinite(v).all() for v in saved['state_dict'].values() if v.is_floating_point())
    # SGD keeps its momentum per parameter: a step was taken for every trainable one
    stepped = [p for group in saved['optimizer']['param_groups'] if group.get('momentum', 1) for p in group['params']]
    assert len(stepped) == sum(p in saved['optimizer']['state'] for p in stepped)
    # a cosine over two iterations has ended at 0
    assert all(math.isfinite(g['lr']) and g['lr'] >= 0 for g in saved['optimizer']['param_groups'])
