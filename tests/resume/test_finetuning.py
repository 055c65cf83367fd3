"""From a pretraining checkpoint through a shipped fine-tuning config: what is loaded, what is averaged, exact resume, one process and two.

Mixing, drop path, random erasing, repeated augmentation, layer decay, average and accumulation are on together, as in the recipes.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from tests.distributed.helpers import run_ranks
from tests.shipped_configs import small

from .runs import differences, train

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
# config of pretraining, config of fine-tuning, what makes their small networks the same
RECIPES = {
    'fcmae': ('selfsup/fcmae/base.py', 'convnextv2_base.py', ()),
    'spark-convnext': ('selfsup/spark/convnext_s.py', 'spark_convnext_s.py', ()),
    'spark-resnet': ('selfsup/spark/r50.py', 'spark_r50.py', ('model.backbone.layers=[3, 4, 6, 3]',)),
}
EPOCHS, IMAGES, BATCH, LAST = 2, 12, 4, 6


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """40 images, the lists of `small`, and one of 12 images of both classes."""
    folder = small.image_folder(tmp_path_factory.mktemp('images'))
    lines = (folder / small.LABELLED).read_text().splitlines()
    (folder / 'twelve.txt').write_text('\n'.join(lines[:6] + lines[-6:]) + '\n')
    return folder


def pretrain(recipe, images, folder):
    """A checkpoint of two steps, and its backbone's weights. They are moved further away from the start, to tell them apart."""
    source, _, options = RECIPES[recipe]
    small.check(CONFIGS / source, images, folder, *options)
    checkpoint = torch.load(folder / 'latest.pth', weights_only=True)
    generator = torch.Generator().manual_seed(1)
    for name, value in checkpoint['state_dict'].items():
        if name.startswith('backbone.') and value.is_floating_point():
            value.add_(torch.rand(value.shape, generator=generator), alpha=0.1)
    torch.save(checkpoint, folder / 'pretrained.pth')
    return folder / 'pretrained.pth', {k: v for k, v in checkpoint['state_dict'].items() if k.startswith('backbone.')}


def finetune(recipe, images, weights, work_dir, *more, **start):
    path = CONFIGS / 'benchmarks' / 'finetuning' / 'imagenet' / RECIPES[recipe][1]
    options = [
        *small.options(path, images),
        f'data.train.data_source.list_file={images / "twelve.txt"}',
        f'data.imgs_per_gpu={BATCH}',
        'total_iters=None',
        f'total_epochs={EPOCHS}',
        'lr_config.warmup_iters=1',
        'checkpoint_config.by_epoch=False',
        'checkpoint_config.interval=1',
        'checkpoint_config.max_keep_ckpts=-1',
        'custom_hooks.0.momentum=0.9',
        f'pretrained={weights}',
    ]
    return train(path, work_dir, *options, *more, curves=False, **start)


def straight_and_resumed(recipe, images, weights, folder, *more, launcher='none'):
    """Straight through, and stopped after the second of two epochs has begun (a window of two iterations ends there)."""
    finetune(recipe, images, weights, folder / 'straight', *more, launcher=launcher)
    finetune(recipe, images, weights, folder / 'stopped', *more, launcher=launcher, stop_after=5)
    finetune(
        recipe,
        images,
        weights,
        folder / 'resumed',
        *more,
        launcher=launcher,
        resume_from=str(folder / 'stopped' / 'latest.pth'),
    )


@pytest.mark.parametrize('recipe', RECIPES)
def test_one_process(recipe, images, tmp_path):
    weights, backbone = pretrain(recipe, images, tmp_path / 'pretraining')
    straight_and_resumed(recipe, images, weights, tmp_path)
    assert differences(tmp_path / 'straight' / f'iter_{LAST}.pth', tmp_path / 'resumed' / f'iter_{LAST}.pth') == []
    check_average(tmp_path / 'straight', backbone)
    repeated = torch.load(tmp_path / 'straight' / f'iter_{LAST}.pth', weights_only=True)['meta']['fingerprint'][
        'sampler'
    ]
    assert repeated.get('num_repeats') == (3 if recipe == 'spark-convnext' else None)


def check_average(run, backbone):
    """The average begins with the weights that were loaded, and follows its formula with every optimizer step."""
    saved = [
        torch.load(run / f'iter_{i}.pth', weights_only=True)
        for i in range(1, LAST + 1)
        if (run / f'iter_{i}.pth').exists()
    ]
    parameters = {
        n for group in saved[0]['optimizer']['param_groups'] for n in group['param_names'] if n.startswith('backbone.')
    }
    first = saved[0]['ema']
    assert first['steps'] == 1 and parameters <= set(backbone)
    for name in parameters:  # one step of the warm-up is short
        torch.testing.assert_close(first['state_dict'][name], backbone[name], rtol=1e-3, atol=1e-5, msg=name)
    for before, after in pairwise(saved):
        for name, weight in after['state_dict'].items():
            if weight.is_floating_point():
                expected = 0.9 * before['ema']['state_dict'][name] + 0.1 * weight
                torch.testing.assert_close(after['ema']['state_dict'][name], expected, rtol=1e-5, atol=1e-6, msg=name)
    assert saved[-1]['ema']['steps'] == len(saved) > 2


def two(images, weights, folder):
    for recipe, file in weights.items():
        straight_and_resumed(
            recipe, images, file, folder / recipe, f'data.imgs_per_gpu={BATCH // 2}', launcher='pytorch'
        )


@pytest.mark.dist
def test_two_processes(images, tmp_path):
    pretrained = {
        recipe: pretrain(recipe, images, tmp_path / recipe / 'pretraining')
        for recipe in ('spark-convnext', 'spark-resnet')
    }
    run_ranks(two, 2, images, {recipe: file for recipe, (file, _) in pretrained.items()}, tmp_path, timeout=120)
    for recipe, (_, backbone) in pretrained.items():
        straight, resumed = (tmp_path / recipe / part for part in ('straight', 'resumed'))
        assert differences(straight / f'iter_{LAST}.pth', resumed / f'iter_{LAST}.pth') == []
        check_average(straight, backbone)


def test_another_sampler_is_no_exact_resume(images, tmp_path):
    from selfsup.errors import CheckpointError

    weights, _ = pretrain('spark-convnext', images, tmp_path / 'pretraining')
    stopped = finetune('spark-convnext', images, weights, tmp_path / 'stopped', stop_after=2)
    with pytest.raises(
        CheckpointError, match=r"sampler was \{'type': 'RepeatAugSampler', .* and is \{'type': 'EpochSampler'"
    ):
        finetune(
            'spark-convnext',
            images,
            weights,
            tmp_path / 'other',
            'data.sampler=None',
            resume_from=str(stopped / 'latest.pth'),
        )
