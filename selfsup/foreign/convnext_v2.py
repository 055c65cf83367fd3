"""ConvNeXt V2: FCMAE pretraining and fine-tuning (main_*.py, and submitit_*.py, which send the same to a cluster)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import UsageError, did_you_mean
from .flags import Draft, Flag, NotNeeded
from .settings import put
from .shell import Call
from .timm_flags import (
    CLASSIFIER,
    TRAINING,
    base_rate,
    head_scale,
    job,
    learning_rate,
    patches,
    places,
    sets,
    steps_of_warmup,
    with_defaults,
)
from .translation import Program, Start

ARCHS = ('atto', 'femto', 'pico', 'nano', 'tiny', 'base', 'large', 'huge')
CUT_OFF = 'convnextv2_'  # the guide's single-machine command for tiny stops there


def arch_of(values: dict[str, Any]) -> str:
    """`convnextv2_base` -> `base`.

    Raises:
        UsageError: another model; the nearest names are told.
    """
    model = values['model']
    known = [f'convnextv2_{arch}' for arch in ARCHS]
    if model == CUT_OFF:
        return 'tiny'
    if model not in known:
        raise UsageError(f'--model {model} is no model of ConvNeXt V2.{did_you_mean(model, known)}')
    return model.removeprefix(CUT_OFF)


def _notes(values: dict[str, Any]) -> list[str]:
    return (
        ["--model convnextv2_ was read as convnextv2_tiny: the guide's command is cut off there."]
        if values['model'] == CUT_OFF
        else []
    )


def layer_decay(draft: Draft, value: float) -> None:
    """By how much the rate falls from layer to layer; 1: not."""
    if value == 1:
        draft.cfg['optimizer'].pop('layer_decay', None)
    else:
        put(draft.cfg, 'optimizer.layer_decay.rate', value)


def layer_groups(draft: Draft, value: str) -> str | None:
    """Which layers have a rate in common."""
    if draft.values['layer_decay'] == 1:
        return NotNeeded('all layers have one rate with --layer_decay 1.')
    put(draft.cfg, 'optimizer.layer_decay.groups', value)
    return None


JOB = (
    Flag('nodes', 'int', 2, 'machines, --nodes of tools/submit.py', job('--nodes'), low=1),
    Flag('ngpus', 'int', 8, 'processes of each machine, --ngpus of tools/submit.py', job('--ngpus'), low=1),
    Flag('timeout', 'int', 4320, 'minutes, --timeout of tools/submit.py', job('--timeout'), left_alone=True, low=1),
    Flag('job_dir', 'str', '', '--job_dir of tools/submit.py, which is the work dir', job('--job_dir')),
    Flag('partition', 'str', 'learnlab', '--partition of tools/submit.py', job('--partition'), left_alone=True),
    Flag('use_volta32', 'switch', False, 'give --sbatch constraint=NAME to tools/submit.py.', only=(False,)),
    Flag('comment', 'str', '', '--comment of tools/submit.py', job('--comment')),
)

PRETRAINING = (
    Flag('model', 'str', 'convnextv2_base', 'model.backbone.arch: chooses the recipe', sets('model.backbone.arch')),
    Flag('input_size', 'int', 224, 'RandomResizedCrop size', patches, low=32),
    Flag('mask_ratio', 'float', 0.6, 'model.mask_ratio', sets('model.mask_ratio'), low=0, above=True, high=0.99),
    Flag('norm_pix_loss', 'bool', True, 'always on, in the original too.', only=(True,)),
    Flag('decoder_depth', 'int', 1, 'model.decoder.depth', sets('model.decoder.depth'), low=1),
    Flag('decoder_embed_dim', 'int', 512, 'model.decoder.width', sets('model.decoder.width'), low=1),
    *with_defaults(TRAINING, epochs=800, warmup_epochs=40, min_lr=0.0),
    Flag('lr', 'float', None, 'optimizer.lr, which does not follow the batch', learning_rate, low=0),
    Flag('blr', 'float', 1.5e-4, 'optimizer.base_lr, for 256 images', base_rate, low=0),
    Flag('crop_pct', 'float', None, 'without effect in the original too.'),
    *places(),
)

FINETUNING = (
    Flag(
        'model',
        'str',
        'convnextv2_base',
        'model.backbone.arch: chooses the recipe',
        lambda draft, value: put(draft.cfg, 'model.backbone.arch', arch_of(draft.values)),
        trains=False,
    ),
    *TRAINING,
    Flag('lr', 'float', None, 'optimizer.lr, which does not follow the batch', learning_rate, low=0),
    Flag('blr', 'float', 5e-4, 'optimizer.base_lr, for 256 images', base_rate, low=0),
    Flag(
        'layer_decay',
        'float',
        1.0,
        'optimizer.layer_decay.rate; 1: no layer decay',
        layer_decay,
        low=0,
        above=True,
        high=1,
    ),
    Flag('layer_decay_type', 'str', 'single', 'optimizer.layer_decay.groups', layer_groups, only=('single', 'group')),
    Flag('head_init_scale', 'float', 0.001, 'model.head.init_std, 0.02 times as large', head_scale, low=0, above=True),
    Flag('weight_decay_end', 'float', None, 'without effect in the original too.'),
    *with_defaults(CLASSIFIER, color_jitter=None),
    *places(),
)


def _submitted(values: dict[str, Any], call: Call) -> Start:
    if call.launched:
        raise UsageError(f'{call.program} sends a job that starts the processes: leave the launcher out.')
    return Start(values['nodes'], values['ngpus'], slurm=True, environment=tuple(call.environment))


def _pretraining(values: dict[str, Any]) -> str:
    return f'configs/selfsup/fcmae/{arch_of(values)}.py'


def _finetuning(values: dict[str, Any]) -> str:
    return f'configs/benchmarks/finetuning/imagenet/convnextv2_{arch_of(values)}.py'


FIRST = replace(PRETRAINING[0], apply=FINETUNING[0].apply)
PROGRAMS = (
    Program(
        'ConvNeXt V2: main_pretrain.py',
        ('main_pretrain.py',),
        (FIRST, *PRETRAINING[1:]),
        _pretraining,
        check=steps_of_warmup,
        notes=_notes,
    ),
    Program(
        'ConvNeXt V2: main_finetune.py',
        ('main_finetune.py',),
        FINETUNING,
        _finetuning,
        check=steps_of_warmup,
        notes=_notes,
    ),
    Program(
        'ConvNeXt V2: submitit_pretrain.py',
        ('submitit_pretrain.py',),
        (*JOB, FIRST, *PRETRAINING[1:]),
        _pretraining,
        describe=_submitted,
        check=steps_of_warmup,
        notes=_notes,
    ),
    Program(
        'ConvNeXt V2: submitit_finetune.py',
        ('submitit_finetune.py',),
        (*JOB, *FINETUNING),
        _finetuning,
        describe=_submitted,
        check=steps_of_warmup,
        notes=_notes,
    ),
)
