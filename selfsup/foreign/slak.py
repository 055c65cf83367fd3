"""SLaK: classifiers with large, sparse kernels (main.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import UsageError, did_you_mean
from .flags import Draft, Flag, NotNeeded
from .settings import drop_hook, hook, put
from .timm_flags import CLASSIFIER, TRAINING, head_scale, learning_rate, places, sets, steps_of_warmup, with_defaults
from .translation import Program

LAST_DIMS = (
    ('tiny', 768),
    ('small', 768),
    ('base', 1024),
    ('large', 1536),
)  # channels of the last stage at a width factor of 1
GROWTHS = ('random', 'gradient', 'momentum')


def arch_of(values: dict[str, Any]) -> str:
    """`SLaK_tiny` -> `tiny`.

    Raises:
        UsageError: another model; the nearest names are told.
    """
    known = [f'SLaK_{arch}' for arch, _ in LAST_DIMS]
    if values['model'] not in known:
        raise UsageError(f'--model {values["model"]} is no model of SLaK.{did_you_mean(values["model"], known)}')
    return values['model'].removeprefix('SLaK_')


def recipe(values: dict[str, Any]) -> str:
    """The nearest shipped config; SLaK-L, of which nothing is published, is trained as SLaK-B."""
    arch = arch_of(values)
    return f'configs/classification/imagenet/slak_{"base" if arch == "large" else arch}.py'


def width(draft: Draft, value: float) -> None:
    """How much wider than ConvNeXt: the classifier follows."""
    put(draft.cfg, 'model.backbone.width_factor', value)
    put(draft.cfg, 'model.head.in_channels', int(dict(LAST_DIMS)[arch_of(draft.values)] * value))


def kernels(draft: Draft, value: tuple[int, ...]) -> None:
    """Four long sides and the short one.

    Raises:
        UsageError: another number of sides, or an even one.
    """
    shown = f'--kernel_size {" ".join(map(str, value))}'
    if len(value) != 5:
        raise UsageError(f'{shown}: give five numbers, the long side of each stage and the short side.')
    if any(side % 2 == 0 for side in value[:4]) or (min(value[:4]) > value[4] and value[4] % 2 == 0):
        raise UsageError(f'{shown}: sides must be odd.')
    put(draft.cfg, 'model.backbone.kernel_size', value)


def sparse(draft: Draft, value: bool) -> None:
    """Sparse training is a hook; a model that is only measured has its zeros in the weights."""
    if not value or draft.values['eval']:
        drop_hook(draft.cfg, 'SparseTrainingHook')


def masks(name: str) -> Callable[[Draft, Any], str | None]:
    """The flag is a setting of the hook, where there is one."""

    def apply(draft: Draft, value: Any) -> str | None:
        entry = hook(draft.cfg, 'SparseTrainingHook')
        if entry is None:
            return NotNeeded('weights are trained sparse with --sparse alone.')
        entry[name] = value.lower() if name == 'init' else value
        return None

    return apply


def fixed(draft: Draft, value: bool) -> None:
    """The masks stay as they are."""
    if value:
        masks('update_interval')(draft, None)


def only_large(draft: Draft, value: bool) -> None:
    """Only the two long kernels are sparse."""
    if value:
        masks('only')(draft, 'large_kernel.LoRA')


def normalised(draft: Draft, value: bool) -> None:
    """Batch norms after the kernels."""
    if not value:
        put(draft.cfg, 'model.backbone.norm_cfg', None)


def layer_decay(draft: Draft, value: float) -> None:
    """By how much the rate falls from layer to layer; 1: not."""
    if value != 1:
        put(draft.cfg, 'optimizer.layer_decay', dict(rate=value, groups='group'))


def end_of_decay(draft: Draft, value: float | None) -> None:
    """The weight decay at the end of training, along a cosine; None: it is constant."""
    if value is not None:
        put(draft.cfg, 'weight_decay_config', dict(end=value))


def notes(values: dict[str, Any]) -> list[str]:
    """What the original does not do, and what is read otherwise here."""
    found = []
    if values['sparse'] and values['use_amp'] and not values['eval']:
        found.append('With --use_amp true the original masks weights once, at the start; here they stay sparse.')
    if values['eval']:
        found.append('The original measures the raw weights, as tools/test.py does; --ema measures the average.')
    if values['model'] == 'SLaK_large':
        found.append('Nothing is published of SLaK-L: the recipe is that of SLaK-B.')
    return found


MODEL = (
    Flag(
        'model',
        'str',
        'SLaK_tiny',
        'model.backbone.arch: chooses the recipe',
        lambda d, value: put(d.cfg, 'model.backbone.arch', arch_of(d.values)),
        trains=False,
    ),
    Flag('Decom', 'bool', False, 'model.backbone.decom', sets('model.backbone.decom', True), trains=False),
    Flag(
        'width_factor',
        'float',
        1.0,
        'model.backbone.width_factor and model.head.in_channels',
        width,
        trains=False,
        low=0.1,
    ),
    Flag('kernel_size', 'ints', (51, 49, 47, 13, 5), 'model.backbone.kernel_size', kernels, trains=False, low=1),
    Flag('bn', 'bool', True, 'model.backbone.norm_cfg', normalised, trains=False),
    Flag(
        'layer_scale_init_value',
        'float',
        1e-6,
        'model.backbone.layer_scale_init_value',
        sets('model.backbone.layer_scale_init_value', 1e-6),
        trains=False,
        low=0,
    ),
)

SPARSE = (
    Flag('sparse', 'switch', False, 'SparseTrainingHook', sparse, trains=False),
    Flag('sparsity', 'float', 0.4, 'SparseTrainingHook sparsity', masks('sparsity'), low=0, high=0.99),
    Flag(
        'sparse_init',
        'str',
        'snip',
        'SparseTrainingHook init',
        masks('init'),
        only=('snip', 'ERK', 'uniform', 'resume'),
    ),
    Flag('prune', 'str', 'magnitude', 'SparseTrainingHook prune', only=('magnitude',)),
    Flag('growth', 'str', 'random', 'SparseTrainingHook growth', masks('growth'), only=GROWTHS),
    Flag('redistribution', 'str', 'none', 'never called in the original either.'),
    Flag('prune_rate', 'float', 0.3, 'SparseTrainingHook prune_rate', masks('prune_rate'), low=0.005, high=1),
    Flag(
        'update-frequency', 'int', 100, 'SparseTrainingHook update_interval', masks('update_interval'), other='u', low=1
    ),
    Flag('fix', 'switch', False, 'SparseTrainingHook update_interval=None', fixed),
    Flag('only-L', 'switch', False, "SparseTrainingHook only='large_kernel.LoRA'", only_large),
    Flag('verbose', 'switch', False, 'without effect in the original too.'),
)

FLAGS = (
    *MODEL,
    *SPARSE,
    *with_defaults(TRAINING, epochs=300),
    Flag('lr', 'float', 4e-3, 'optimizer.lr, which does not follow the batch', learning_rate, low=0),
    Flag('layer_decay', 'float', 1.0, 'optimizer.layer_decay', layer_decay, low=0, above=True, high=1),
    Flag('weight_decay_end', 'float', None, 'weight_decay_config.end', end_of_decay, low=0),
    Flag('head_init_scale', 'float', 1.0, 'model.head.init_std, 0.02 times as large', head_scale, low=0, above=True),
    *with_defaults(CLASSIFIER, mixup=0.8, cutmix=1.0),
    *places(),
    Flag('enable_wandb', 'bool', False, 'curves lie in the work dir.', only=(False,)),
    Flag('project', 'str', 'SLaK', 'curves lie in the work dir.'),
    Flag('wandb_ckpt', 'bool', False, 'checkpoints lie in the work dir.', only=(False,)),
)

PROGRAMS = (Program('SLaK: main.py', ('main.py',), FLAGS, recipe, check=steps_of_warmup, notes=notes),)
