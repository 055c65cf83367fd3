"""Flags that scripts made of ConvNeXt's share, and what they do to a config."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from ..errors import UsageError
from .flags import Draft, Flag, NotNeeded
from .settings import datasets, drop, drop_hook, get, hook, put, step

INTERPOLATION = {'bilinear': 2, 'bicubic': 3}
WARPED = 384  # images of this side are measured whole, without a crop


def sets(path: str, default: Any = None) -> Callable[[Draft, Any], str | None]:
    """The flag is the setting at `path`; where the recipe leaves it out, `default` counts."""
    return lambda draft, value: put(draft.cfg, path, value, default)


def passes(option: str) -> Callable[[Draft, Any], str | None]:
    """The flag is an argument of tools/train.py, left out where it is empty."""

    def apply(draft: Draft, value: Any) -> None:
        if value not in ('', None, False):
            draft.words += [option] if value is True else [option, shlex.quote(str(value))]

    return apply


def job(option: str) -> Callable[[Draft, Any], str | None]:
    """The flag is an argument of tools/submit.py."""

    def apply(draft: Draft, value: Any) -> None:
        if value not in ('', None):
            draft.job += [option, shlex.quote(str(value))]

    return apply


def data_path(draft: Draft, value: str) -> None:
    """Images in the folders train and val of a path."""
    for split in ('train', 'val'):
        for dataset in datasets(draft.cfg, split):
            dataset['data_source'] = dict(type='ImageFolder', root=f'{value.rstrip("/")}/{split}')


def eval_data_path(draft: Draft, value: str) -> None:
    """Images to measure on, in a folder of their own."""
    if value:
        for dataset in datasets(draft.cfg, 'val'):
            dataset['data_source'] = dict(type='ImageFolder', root=value)


def learning_rate(draft: Draft, value: float | None) -> None:
    """A rate that does not follow the batch, in the place of one that does."""
    if value is not None:
        drop(draft.cfg, 'optimizer.base_lr')
        put(draft.cfg, 'optimizer.lr', value)


def base_rate(draft: Draft, value: float) -> str | None:
    """The rate for 256 images; without effect beside --lr."""
    if draft.values.get('lr') is not None:
        return NotNeeded('--lr is given, which goes first.')
    put(draft.cfg, 'optimizer.base_lr', value)
    return None


def warmup(draft: Draft, value: int) -> None:
    """Epochs of warm-up; 0: none."""
    put(draft.cfg, 'lr_config.warmup', 'linear' if value else None)
    if value:
        put(draft.cfg, 'lr_config.warmup_iters', value)


def steps_of_warmup(values: dict[str, Any]) -> None:
    """Hold the warm-up against the length of the training.

    Raises:
        UsageError: it is longer.
    """
    if values['warmup_epochs'] > values['epochs']:
        raise UsageError(
            f'--warmup_epochs {values["warmup_epochs"]} is longer than --epochs {values["epochs"]}: give fewer epochs of warm-up.'
        )


def mixing(draft: Draft, name: str, value: Any) -> str | None:
    """One number of the mixing, which is there where --mixup or --cutmix is above 0."""
    if not (draft.values['mixup'] or draft.values['cutmix']):
        put(draft.cfg, 'model.mixup', None)
        return None if name in ('mixup_alpha', 'cutmix_alpha') else NotNeeded('nothing is mixed.')
    if not isinstance(get(draft.cfg, 'model.mixup'), dict):
        draft.cfg['model']['mixup'] = dict(type='Mixup')
    defaults = dict(mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5, mode='batch')
    put(draft.cfg, f'model.mixup.{name}', value, defaults[name])
    return None


def mixes(name: str) -> Callable[[Draft, Any], str | None]:
    """The flag is one number of the mixing."""
    return lambda draft, value: mixing(draft, name, value)


def smoothing(draft: Draft, value: float) -> None:
    """Labels are smoothed where they are mixed, else in the head."""
    mixed = isinstance(get(draft.cfg, 'model.mixup'), dict)
    if mixed:
        put(draft.cfg, 'model.mixup.label_smoothing', value, 0.1)
    put(draft.cfg, 'model.head.label_smoothing', 0.0 if mixed else value, 0.0)


def average(draft: Draft, value: bool) -> None:
    """The moving average of the weights is a hook."""
    if not value:
        drop_hook(draft.cfg, 'EMAHook')


def average_setting(name: str) -> Callable[[Draft, Any], str | None]:
    """The flag is a setting of that hook, where there is one."""

    def apply(draft: Draft, value: Any) -> str | None:
        entry = hook(draft.cfg, 'EMAHook')
        if entry is None:
            return NotNeeded('there is no average without --model_ema true.')
        entry[name] = value
        return None

    return apply


def input_size(draft: Draft, value: int) -> None:
    """The side of the images; those to measure on are scaled and cropped, or warped from 384 on."""
    for dataset in datasets(draft.cfg, 'train'):
        for name in ('RandomResizedCrop', 'TIMMAutoAugment'):
            entry = step(dataset, name)
            if entry is not None:
                entry['size'] = value
    for dataset in datasets(draft.cfg, 'val'):
        scaled, cropped = step(dataset, 'Resize'), step(dataset, 'CenterCrop')
        if value >= WARPED and scaled is not None:
            scaled['size'] = (value, value)
            dataset['pipeline'] = [entry for entry in dataset['pipeline'] if entry['type'] != 'CenterCrop']
        elif scaled is not None and cropped is not None:
            cropped['size'] = value
            scaled['size'] = int(value / (draft.values.get('crop_pct') or 224 / 256))


def patches(draft: Draft, value: int) -> None:
    """Images of whole patches.

    Raises:
        UsageError: a size that 32 does not divide.
    """
    if value % 32:
        raise UsageError(f'--input_size {value}: hidden patches are 32 pixels wide, so give a multiple of 32.')
    input_size(draft, value)


def head_scale(draft: Draft, value: float) -> None:
    """The first weights of the classifier, as a share of those of the backbone (0.02)."""
    put(draft.cfg, 'model.head.init_std', float(f'{0.02 * value:.12g}'))


def crop_share(draft: Draft, value: float | None) -> None:
    """Which share of the scaled image its centre crop is; None: 224 of 256."""
    input_size(draft, draft.values['input_size'])


def step_setting(name: str, key: str, table: dict[Any, Any] | None = None) -> Callable[[Draft, Any], str | None]:
    """The flag is an argument of a step of the training pipeline."""

    def apply(draft: Draft, value: Any) -> None:
        entry = step(datasets(draft.cfg, 'train')[0], name)
        assert entry is not None, name
        entry[key] = value if table is None else table[value]

    return apply


def erasing(draft: Draft, value: float) -> None:
    """How often a part of the image is erased; 0: the step is left out."""
    dataset = datasets(draft.cfg, 'train')[0]
    if value:
        step_setting('RandomErasing', 'p')(draft, value)
    else:
        dataset['pipeline'] = [entry for entry in dataset['pipeline'] if entry['type'] != 'RandomErasing']


def clipping(draft: Draft, value: float | None) -> None:
    """The largest norm of the gradient; None: not clipped."""
    if value is not None:
        put(draft.cfg, 'optimizer_config.grad_clip', dict(max_norm=value))


def sizes(draft: Draft, value: int) -> None:
    """Images of each process."""
    put(draft.cfg, 'data.imgs_per_gpu', value)


def work_dir(draft: Draft, value: str) -> str | None:
    """Where a run writes; a job has a folder of its own."""
    if draft.values.get('job_dir') or draft.values.get('eval'):
        return NotNeeded('nothing is trained.' if draft.values.get('eval') else 'the folder is that of --job_dir.')
    return passes('--work_dir')(draft, value)


PLACES = (
    Flag('data_path', 'str', '', 'images in its folders train and val', data_path, left_alone=True),
    Flag('output_dir', 'str', '', 'the work dir; by default work_dirs/ and the name of the config', work_dir),
    Flag('log_dir', 'str', '', 'curves and events lie in the work dir.'),
    Flag('device', 'str', 'cuda', 'a GPU where there is one.'),
    Flag('seed', 'int', 0, '--seed of tools/train.py', passes('--seed'), left_alone=True, low=0),
    Flag('auto_resume', 'bool', True, '--auto_resume of tools/train.py; what tools/submit.py always does', None),
    Flag('save_ckpt', 'bool', True, 'checkpoints are always written.', only=(True,)),
    Flag(
        'save_ckpt_freq',
        'int',
        1,
        'checkpoint_config.interval',
        sets('checkpoint_config.interval'),
        left_alone=True,
        low=1,
    ),
    Flag(
        'save_ckpt_num',
        'int',
        3,
        'checkpoint_config.max_keep_ckpts',
        sets('checkpoint_config.max_keep_ckpts'),
        left_alone=True,
        low=1,
    ),
    Flag('start_epoch', 'int', 0, 'the position lies in the checkpoint.', only=(0,)),
    Flag('num_workers', 'int', 10, 'data.workers_per_gpu', sets('data.workers_per_gpu'), left_alone=True, low=0),
    Flag('pin_mem', 'bool', True, 'follows from the device.'),
    Flag('world_size', 'int', 1, 'follows from how the processes are started.'),
    Flag('local_rank', 'int', -1, 'set by the launcher.'),
    Flag('dist_on_itp', 'bool', False, 'a cluster of the authors.', only=(False,)),
    Flag('dist_url', 'str', 'env://', 'follows from how the processes are started.'),
)


def resumes(draft: Draft, value: bool) -> None:
    """What tools/submit.py does by itself, tools/train.py is asked for; a checkpoint that is named goes first."""
    if value and not draft.values['resume'] and not draft.values.get('job_dir') and not draft.values.get('eval'):
        draft.words.append('--auto_resume')


def measured(draft: Draft, value: bool) -> str | None:
    """Nothing is trained."""
    return 'tools/test.py' if value else None


def resume(draft: Draft, value: str) -> str | None:
    """A checkpoint to go on from; with --eval the one that is measured."""
    if draft.values.get('eval'):
        if not value:
            raise UsageError('--eval true measures a checkpoint: add --resume PATH.')
        return 'the checkpoint that is measured'
    return passes('--resume_from')(draft, value)


def places(**defaults: Any) -> tuple[Flag, ...]:
    """`PLACES`, with other defaults, and how a run goes on."""
    from dataclasses import replace

    rows = [replace(f, default=defaults[f.name]) if f.name in defaults else f for f in PLACES]
    rows = [replace(f, apply=resumes) if f.name == 'auto_resume' else f for f in rows]
    return (
        *rows,
        Flag('resume', 'str', '', '--resume_from of tools/train.py, or what is measured', resume, trains=False),
    )


TRAINING = (
    Flag('epochs', 'int', 100, 'total_epochs', sets('total_epochs'), low=1),
    Flag('batch_size', 'int', 64, 'data.imgs_per_gpu', sizes, low=1),
    Flag(
        'update_freq', 'int', 1, 'optimizer_config.update_interval', sets('optimizer_config.update_interval', 1), low=1
    ),
    Flag('weight_decay', 'float', 0.05, 'optimizer.weight_decay', sets('optimizer.weight_decay'), low=0),
    Flag('min_lr', 'float', 1e-6, 'lr_config.min_lr', sets('lr_config.min_lr', 0.0), low=0),
    Flag('warmup_epochs', 'int', 20, 'lr_config.warmup_iters, in epochs', warmup, low=0),
)

CLASSIFIER = (
    Flag(
        'drop_path',
        'float',
        0.0,
        'model.backbone.drop_path_rate',
        sets('model.backbone.drop_path_rate', 0.0),
        low=0,
        high=0.99,
    ),
    Flag('input_size', 'int', 224, 'the sizes in the pipelines', input_size, trains=False, low=33),
    Flag(
        'crop_pct',
        'float',
        None,
        'Resize of the images to measure on',
        crop_share,
        trains=False,
        low=0,
        above=True,
        high=1,
    ),
    Flag('opt', 'str', 'adamw', 'AdamW; for another one write `optimizer` into the config.', only=('adamw',)),
    Flag('opt_eps', 'float', 1e-8, 'optimizer.eps', sets('optimizer.eps', 1e-8), low=0, above=True),
    Flag('opt_betas', 'str', None, 'the two betas of AdamW; for others write optimizer.betas.', only=(None,)),
    Flag('momentum', 'float', 0.9, 'AdamW has none.'),
    Flag('clip_grad', 'float', None, 'optimizer_config.grad_clip', clipping, low=0, above=True),
    Flag('warmup_steps', 'int', -1, 'the warm-up is counted in epochs here.', only=(-1, 0)),
    Flag('model_ema', 'bool', False, 'EMAHook', average),
    Flag('model_ema_decay', 'float', 0.9999, 'EMAHook momentum', average_setting('momentum'), low=0, high=1),
    Flag('model_ema_force_cpu', 'bool', False, 'the average lies beside the weights.', only=(False,)),
    Flag('model_ema_eval', 'bool', False, 'EMAHook evaluate', average_setting('evaluate')),
    Flag('color_jitter', 'float', 0.4, 'without effect beside --aa, in the original too.'),
    Flag('aa', 'str', 'rand-m9-mstd0.5-inc1', 'TIMMAutoAugment policy', step_setting('TIMMAutoAugment', 'policy')),
    Flag(
        'train_interpolation',
        'str',
        'bicubic',
        'RandomResizedCrop interpolation',
        step_setting('RandomResizedCrop', 'interpolation', INTERPOLATION),
        only=('bicubic', 'bilinear'),
    ),
    Flag('reprob', 'float', 0.25, 'RandomErasing p', erasing, low=0, high=1),
    Flag(
        'remode',
        'str',
        'pixel',
        'noise in every pixel; for another one write RandomErasing into the pipeline.',
        only=('pixel',),
    ),
    Flag('recount', 'int', 1, 'one part of an image is erased.', only=(1,)),
    Flag('resplit', 'switch', False, 'without effect in the original too.'),
    Flag(
        'mixup',
        'float',
        0.0,
        'model.mixup.mixup_alpha; without mixing model.mixup is None',
        mixes('mixup_alpha'),
        low=0,
    ),
    Flag('cutmix', 'float', 0.0, 'model.mixup.cutmix_alpha', mixes('cutmix_alpha'), low=0),
    Flag(
        'cutmix_minmax',
        'str',
        None,
        'the size of what is mixed in follows from --cutmix; write model.mixup.cutmix_minmax.',
        only=(None,),
    ),
    Flag('mixup_prob', 'float', 1.0, 'model.mixup.prob', mixes('prob'), low=0, high=1),
    Flag('mixup_switch_prob', 'float', 0.5, 'model.mixup.switch_prob', mixes('switch_prob'), low=0, high=1),
    Flag('mixup_mode', 'str', 'batch', 'model.mixup.mode', mixes('mode'), only=('batch', 'pair', 'elem')),
    Flag(
        'smoothing',
        'float',
        0.1,
        'label_smoothing of model.mixup, or of model.head where nothing is mixed',
        smoothing,
        low=0,
        high=0.99,
    ),
    Flag('finetune', 'str', '', '--pretrained of tools/train.py', passes('--pretrained')),
    Flag('model_key', 'str', 'model|module', 'where the weights lie in a file is found out.'),
    Flag('model_prefix', 'str', '', 'where the weights lie in a file is found out.'),
    Flag('nb_classes', 'int', 1000, 'model.head.num_classes', sets('model.head.num_classes'), trains=False, low=1),
    Flag('eval_data_path', 'str', None, 'images to measure on', eval_data_path, trains=False),
    Flag(
        'imagenet_default_mean_and_std',
        'bool',
        True,
        'Normalize of the pipelines; write other numbers there.',
        only=(True,),
    ),
    Flag('data_set', 'str', 'IMNET', 'folders of classes below --data_path.', only=('IMNET', 'image_folder')),
    Flag('eval', 'bool', False, 'tools/test.py in the place of a training', measured),
    Flag('dist_eval', 'bool', True, 'the processes always share the images.'),
    Flag(
        'disable_eval',
        'bool',
        False,
        'ValidateHook',
        lambda draft, value: drop_hook(draft.cfg, 'ValidateHook') if value else None,
    ),
    Flag('use_amp', 'bool', False, 'use_fp16', sets('use_fp16', False)),
)


def with_defaults(flags: tuple[Flag, ...], **defaults: Any) -> tuple[Flag, ...]:
    """The same flags, where a script documents other defaults."""
    from dataclasses import replace

    return tuple(replace(f, default=defaults[f.name]) if f.name in defaults else f for f in flags)
