"""SparK: pretraining and fine-tuning on ImageNet (main.sh and main.py of its two folders)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..errors import UsageError, did_you_mean
from .flags import Draft, Flag, NotNeeded
from .settings import datasets, drop, get, hook, put
from .shell import Call
from .timm_flags import base_rate, data_path, input_size, passes, patches, sets, warmup
from .translation import Program, Start, start_of

SHORT = (
    ('resnet50', 'r50'),
    ('resnet101', 'r101'),
    ('resnet152', 'r152'),
    ('resnet200', 'r200'),
    ('convnext_small', 'convnext_s'),
    ('convnext_base', 'convnext_b'),
    ('convnext_large', 'convnext_l'),
)


def short_name(model: str) -> str:
    """`resnet50` -> `r50`.

    Raises:
        UsageError: another model; the nearest names are told.
    """
    names = dict(SHORT)
    if model not in names:
        raise UsageError(f'--model {model} is no model of SparK.{did_you_mean(model, names)}')
    return names[model]


def pretraining_recipe(values: dict[str, Any]) -> str:
    """ConvNeXt-L at 384 pixels has a recipe of its own."""
    large = '_384' if values['model'] == 'convnext_large' and values['input_size'] == 384 else ''
    return f'configs/selfsup/spark/{short_name(values["model"])}{large}.py'


def finetuning_recipe(values: dict[str, Any]) -> str:
    """ConvNeXt-L at 384 pixels has a recipe of its own."""
    large = '_384' if values['model'] == 'convnext_large' and values['img_size'] == 384 else ''
    return f'configs/benchmarks/finetuning/imagenet/spark_{short_name(values["model"])}{large}.py'


def each(draft: Draft, value: int) -> None:
    """The batch of all processes, rounded down to whole images on each.

    Raises:
        UsageError: fewer images than processes.
    """
    if value < draft.world:
        raise UsageError(
            f'--bs {value} leaves no image to some of {draft.world} processes: give at least {draft.world}.'
        )
    put(draft.cfg, 'data.imgs_per_gpu', value // draft.world)
    put(draft.cfg, 'optimizer_config.update_interval', 1, 1)


def each_or_table(draft: Draft, value: int) -> None:
    """The batch of all processes; 0: that of the recipe, which is for 8 processes."""
    images, interval = draft.cfg['data']['imgs_per_gpu'], get(draft.cfg, 'optimizer_config.update_interval', 1)
    total = value or 8 * images * interval
    if total != draft.world * images * interval:
        each(draft, total)


def chosen(draft: Draft, value: str) -> None:
    """The model chooses the recipe, before any flag is applied."""


def clip_of_adamw(draft: Draft, value: int) -> str | None:
    """`optimizer` reads it."""
    if draft.values['opt'] == 'lamb':
        return NotNeeded('LAMB always clips at 5.')
    return f'optimizer_config.grad_clip.max_norm = {value}'


def unless_zero(path: str) -> Callable[[Draft, Any], str | None]:
    """The flag is the setting at `path`; 0 or nothing: the recipe's own value."""
    return lambda draft, value: put(draft.cfg, path, value) if value else None


def folder(draft: Draft, value: str) -> None:
    """Images in the folders train and val; the name of one of them may end the path."""
    data_path(draft, re.sub(r'/(train|val)$', '', value.rstrip('/')))


def experiment(draft: Draft, value: str) -> str | None:
    """The name of a run is that of its folder, unless --exp_dir names one."""
    if 'exp_dir' in draft.given:
        return NotNeeded('the folder is that of --exp_dir.')
    draft.words += ['--work_dir', 'work_dirs/' + re.sub(r'[^\w-]', '_', value)]
    return None


def final_decay(draft: Draft, value: float) -> None:
    """The weight decay at the end; 0: as at the start."""
    put(draft.cfg, 'weight_decay_config.end', value or draft.values['wd'])


def optimizer(draft: Draft, value: str) -> None:
    """LAMB, which clips gradients at a norm of 5 whatever --clip says; or AdamW."""
    if value == 'adamw':
        put(draft.cfg, 'optimizer.type', 'AdamW')
        drop(draft.cfg, 'optimizer.max_grad_norm')
        put(draft.cfg, 'optimizer_config.grad_clip', dict(max_norm=draft.values['clip']))


def averaged(draft: Draft, value: float) -> None:
    """The share of the old weights that the average keeps."""
    entry = hook(draft.cfg, 'EMAHook')
    if value and entry is not None:
        entry['momentum'] = value


def clipped(draft: Draft, value: float) -> None:
    """The largest norm of the gradient; -1: not clipped."""
    if value > 0:
        put(draft.cfg, 'optimizer_config.grad_clip', dict(max_norm=value))


def size(draft: Draft, value: int) -> None:
    """The side of the images; from 384 on the augmentation is another, which the recipe of ConvNeXt-L has.

    Raises:
        UsageError: 384 pixels or more with another model.
    """
    own = datasets(draft.cfg, 'train')[0]['pipeline'][0]['size']
    if value == own:
        return
    if value >= 384:
        raise UsageError(f'--img_size {value}: only --model convnext_large --img_size 384 has a recipe here.')
    draft.values['crop_pct'] = 0.95
    input_size(draft, value)


def same_optimizer(draft: Draft, value: str) -> None:
    """The recipe's own optimizer.

    Raises:
        UsageError: another one.
    """
    own = get(draft.cfg, 'optimizer.type').lower()
    if value and value.replace('adamw', 'adam') != own.replace('adamw', 'adam'):
        raise UsageError(
            f'--opt {value} has no counterpart here: the recipe trains with {own}. Write `optimizer` into the config.'
        )


def repeated(draft: Draft, value: int) -> None:
    """How often an image is in an epoch.

    Raises:
        UsageError: another number than the recipe's.
    """
    sampler = get(draft.cfg, 'data.sampler')
    own = 3 if sampler else 0
    if value and value != own:
        raise UsageError(
            f'--rep_aug {value} has no counterpart here: the recipe has {own}. Write data.sampler into the config.'
        )


def start(values: dict[str, Any], call: Call) -> Start:
    """Machines and processes as main.sh, or a launcher, is told.

    Raises:
        UsageError: main.sh without --ngpu_per_node.
    """
    if not call.program.endswith('.sh'):
        return start_of(call)
    if values['ngpu_per_node'] is None:
        raise UsageError('--ngpu_per_node is missing: say how many GPUs a machine has, such as --ngpu_per_node=8.')
    rank, port = values['node_rank'], values['master_port']
    return start_of(
        Call(
            call.program,
            [],
            launched=True,
            processes=values['ngpu_per_node'],
            nodes=values['num_nodes'],
            node_rank=None if rank is None else str(rank),
            master_addr=values['master_address'],
            master_port=None if port is None else str(port),
            environment=call.environment,
        )
    )


def notes(values: dict[str, Any]) -> list[str]:
    """What may surprise."""
    return (
        ['--clip has no effect with LAMB, here as there: it clips at 5.']
        if values.get('opt') == 'lamb' and values.get('clip') != 5
        else []
    )


def launched(variable: str) -> Callable[[Draft, Any], str | None]:
    """The flag says where processes start: `run_command` reads it."""
    return lambda draft, value: None if value is None else f'{variable} = {value}'


LAUNCH = (
    Flag('num_nodes', 'int', 1, 'NNODES of tools/dist_train.sh', launched('NNODES'), low=1),
    Flag('ngpu_per_node', 'int', None, 'the second argument of tools/dist_train.sh', launched('processes'), low=1),
    Flag('node_rank', 'int', None, 'NODE_RANK of tools/dist_train.sh', launched('NODE_RANK'), low=0),
    Flag('master_address', 'str', None, 'MASTER_ADDR of tools/dist_train.sh', launched('MASTER_ADDR')),
    Flag('master_port', 'int', None, 'PORT of tools/dist_train.sh', launched('PORT'), low=1, high=65535),
)
COMMON = (
    Flag('exp_name', 'str', 'your_exp_name', '--work_dir', experiment, left_alone=True),
    Flag('exp_dir', 'str', 'your_exp_dir', '--work_dir', passes('--work_dir'), left_alone=True),
    Flag('data_path', 'str', '', 'images in its folders train and val', folder, left_alone=True),
    Flag('resume_from', 'str', '', '--resume_from of tools/train.py', passes('--resume_from')),
    Flag('dataloader_workers', 'int', 8, 'data.workers_per_gpu', sets('data.workers_per_gpu'), left_alone=True, low=0),
    Flag('tb_lg_dir', 'str', '', 'curves and events lie in the work dir.'),
)
PRETRAINING = (
    *LAUNCH,
    Flag('model', 'str', 'resnet50', 'chooses the recipe', chosen),
    Flag('input_size', 'int', 224, 'RandomResizedCrop size', patches, low=32),
    Flag('mask', 'float', 0.6, 'model.mask_ratio', sets('model.mask_ratio'), low=0, above=True, high=0.99),
    Flag('sbn', 'bool', True, 'model.sync_bn', sets('model.sync_bn')),
    Flag('bs', 'int', 4096, 'data.imgs_per_gpu, times all processes', each, low=1),
    Flag(
        'dp',
        'float',
        0.0,
        'model.backbone.drop_path_rate; 0: that of the model',
        unless_zero('model.backbone.drop_path_rate'),
        low=0,
        high=0.99,
    ),
    Flag('base_lr', 'float', 2e-4, 'optimizer.base_lr, for 256 images', base_rate, low=0),
    Flag('wd', 'float', 0.04, 'optimizer.weight_decay', sets('optimizer.weight_decay'), low=0),
    Flag('wde', 'float', 0.2, 'weight_decay_config.end; 0: as --wd', final_decay, low=0),
    Flag('ep', 'int', 1600, 'total_epochs', sets('total_epochs'), low=1),
    Flag('wp_ep', 'int', 40, 'lr_config.warmup_iters, in epochs', warmup, low=0),
    Flag('opt', 'str', 'lamb', 'optimizer.type', optimizer, only=('lamb', 'adamw')),
    Flag('clip', 'int', 5, 'optimizer_config.grad_clip with --opt adamw; LAMB always clips at 5', clip_of_adamw, low=1),
    Flag('ada', 'float', 0.0, 'the second beta follows from the model, in the original too.'),
    Flag(
        'init_weight',
        'str',
        '',
        'a whole pretraining model to start from; load_from takes a checkpoint of ours.',
        only=('',),
    ),
    *COMMON,
)
FINETUNING = (
    *LAUNCH,
    Flag('model', 'str', '', 'chooses the recipe', chosen),
    Flag('img_size', 'int', 224, 'the sizes in the pipelines', size, low=33),
    Flag('bs', 'int', 0, 'data.imgs_per_gpu, times all processes; 0: as the recipe', each_or_table, low=0),
    Flag('ep', 'int', 0, 'total_epochs; 0: as the recipe', unless_zero('total_epochs'), low=0),
    Flag(
        'wp_ep',
        'int',
        0,
        'lr_config.warmup_iters, in epochs; 0: as the recipe',
        unless_zero('lr_config.warmup_iters'),
        low=0,
    ),
    Flag('opt', 'str', '', "the recipe's own optimizer", same_optimizer),
    Flag(
        'base_lr',
        'float',
        0.0,
        'optimizer.base_lr, for 256 images; 0: as the recipe',
        unless_zero('optimizer.base_lr'),
        low=0,
    ),
    Flag(
        'lr_scale',
        'float',
        0.0,
        'optimizer.layer_decay.rate; 0: as the recipe',
        unless_zero('optimizer.layer_decay.rate'),
        low=0,
        high=1,
    ),
    Flag('clip', 'float', -1.0, 'optimizer_config.grad_clip; -1: not clipped', clipped, low=-1),
    Flag('wd', 'float', 0.0, 'optimizer.weight_decay; 0: as the recipe', unless_zero('optimizer.weight_decay'), low=0),
    Flag(
        'mixup',
        'float',
        0.0,
        'model.mixup.mixup_alpha; 0: as the recipe',
        unless_zero('model.mixup.mixup_alpha'),
        low=0,
    ),
    Flag('rep_aug', 'int', 0, 'data.sampler', repeated, low=0),
    Flag(
        'drop_path',
        'float',
        0.0,
        'model.backbone.drop_path_rate; 0: as the recipe',
        unless_zero('model.backbone.drop_path_rate'),
        low=0,
        high=0.99,
    ),
    Flag('ema', 'float', 0.0, 'EMAHook momentum; 0: as the recipe', averaged, low=0, high=1),
    Flag('sbn', 'bool', True, 'batch norms over all processes, where a model has some.', only=(True,)),
    *COMMON[:3],
    Flag('resume_from', 'str', '', '--pretrained of tools/train.py: the weights to start from', passes('--pretrained')),
    *COMMON[4:],
)


def _warmup_fits(values: dict[str, Any]) -> None:
    if values['ep'] and values['wp_ep'] > values['ep']:
        raise UsageError(f'--wp_ep {values["wp_ep"]} is longer than --ep {values["ep"]}: give fewer epochs of warm-up.')


PRETRAIN, FINETUNE = (
    Program(title, ('main.sh', 'main.py'), flags, recipe, describe=start, check=_warmup_fits, notes=notes)
    for title, flags, recipe in (
        ('SparK: main.sh of pretrain', PRETRAINING, pretraining_recipe),
        ('SparK: main.sh of downstream_imagenet', FINETUNING, finetuning_recipe),
    )
)
PROGRAMS = (PRETRAIN, FINETUNE)
