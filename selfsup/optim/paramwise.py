"""`paramwise_options`: other learning rates, momenta, weight decays for the parameters whose name matches a pattern."""

from __future__ import annotations

import difflib
import inspect
import re
import warnings
from collections.abc import Iterable

from torch import nn

from ..arguments import require
from ..errors import ConfigError, SelfSupWarning, did_you_mean
from ..registry import OPTIMIZERS
from .layer_decay import lr_scales
from .options import ParamwiseOptions

OPTIONS = tuple(ParamwiseOptions.__annotations__)
OF_THE_RUN = ('max_ndim', 'constant_lr')  # options that no optimizer knows


def param_groups(
    model: nn.Module, optimizer_cfg: dict, paramwise_options: dict | None = None, layer_decay: dict | None = None
) -> list[dict]:
    """Parameter groups for a torch optimizer.

    Each pattern is searched (`re.search`) in the parameter's name, without DDP's `module.`. Patterns act in the order of
    the dict; a later one overrides an earlier one, option by option. Frozen parameters are left out. Parameters with the
    same options share a group, in the order of `named_parameters()`.

    Args:
        model: module whose parameters are to be trained.
        optimizer_cfg: `dict(type=..., lr=..., ...)`; `*_mult` multiplies the value given here.
        paramwise_options: pattern -> dict of `lr`, `lr_mult`, `momentum`, `momentum_mult`, `weight_decay`,
            `weight_decay_mult`, `lars_exclude`; with `max_ndim` the pattern is for parameters of at most so many axes:
            `{'': dict(max_ndim=1, weight_decay=0.)}` takes the weight decay from every bias and norm; with `constant_lr=True` the
            parameters keep their learning rate from the first step to the last: no schedule and no warm-up changes it.
        layer_decay: `dict(rate=0.9, groups='single')`, see `lr_scales`: factors on the rates that the patterns left.

    Returns:
        Dicts with `params`, `param_names` (list of str, parallel to it) and the options that differ from the optimizer's;
        with layer decay also `lr_scale`, the factor that `lr` holds already, by which a schedule scales its smallest rate too.

    Raises:
        ConfigError: a pattern is no regular expression, an option is unknown, of a wrong kind, unknown to the optimizer,
            or multiplies a value that `optimizer_cfg` does not give; or nothing is left to train; or what `lr_scales` refuses.
    """
    scales = _scales(model, optimizer_cfg, layer_decay)
    rules = [
        (pattern, _compile(pattern), _resolve(pattern, options, optimizer_cfg))
        for pattern, options in _items(paramwise_options)
    ]
    if not _accepts(optimizer_cfg, 'lars_exclude') and any(
        'lars_exclude' in options for _, options in _items(paramwise_options)
    ):
        warnings.warn(
            f"paramwise_options: lars_exclude belongs to LARS; type='{optimizer_cfg['type']}' ignores it.",
            SelfSupWarning,
            stacklevel=2,
        )
    groups: dict[tuple, dict] = {}
    unmatched = {pattern for pattern, _, _ in rules}
    names = []
    for name, param in model.named_parameters():
        name = name.removeprefix('module.')
        names.append(name)
        chosen: dict = {}
        for pattern, regex, options in rules:
            if regex.search(name) and param.ndim <= options.get('max_ndim', param.ndim):
                unmatched.discard(pattern)
                chosen.update((option, value) for option, value in options.items() if option != 'max_ndim')
        if param.requires_grad:
            if scales.get(name, 1.0) != 1:
                rate = chosen['lr'] if 'lr' in chosen else optimizer_cfg['lr']
                chosen.update(lr=rate * scales[name], lr_scale=scales[name])
            group = groups.setdefault(tuple(sorted(chosen.items())), {'params': [], 'param_names': [], **chosen})
            group['params'].append(param)
            group['param_names'].append(name)
    for pattern in (p for p, _, _ in rules if p in unmatched):
        warnings.warn(
            f'paramwise_options: {pattern!r} matches no parameter and has no effect.{nearest_names(pattern, names)}',
            SelfSupWarning,
            stacklevel=2,
        )
    if not groups:
        raise ConfigError(f'{type(model).__name__} has no parameter that can be trained: all {len(names)} are frozen.')
    return list(groups.values())


def _scales(model: nn.Module, optimizer_cfg: dict, layer_decay: dict | None) -> dict[str, float]:
    """Factor of each parameter's learning rate; {} without layer decay."""
    if layer_decay is None:
        return {}
    if not isinstance(layer_decay, dict) or not {'rate'} <= set(layer_decay) <= {'rate', 'groups'}:
        raise ConfigError(f"layer_decay is written dict(rate=0.9, groups='single'); got {layer_decay!r}.")
    if 'lr' not in optimizer_cfg:
        raise ConfigError('layer_decay scales the lr of the optimizer, which is not given; write lr into `optimizer`.')
    return lr_scales(model, **layer_decay)


def _items(paramwise_options: dict | None) -> Iterable[tuple[str, dict]]:
    options = {} if paramwise_options is None else paramwise_options
    if not isinstance(options, dict):
        raise ConfigError(f'paramwise_options is a dict of pattern -> options; got {options!r}.')
    return options.items()


def _compile(pattern: str) -> re.Pattern:
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ConfigError(f'paramwise_options: {pattern!r} is no regular expression: {error}.') from None


def _resolve(pattern: str, options: dict, optimizer_cfg: dict) -> dict:
    """Absolute values of one pattern's options, multiples worked out, in the order written."""
    where = f'paramwise_options[{pattern!r}]'
    if not isinstance(options, dict):
        raise ConfigError(f'{where} is a dict, for example dict(weight_decay=0.); got {options!r}.')
    for option in options:
        if option not in OPTIONS:
            raise ConfigError(f'{where}: unknown option {option!r}.{did_you_mean(str(option), OPTIONS)}')
    require(ParamwiseOptions, options, where)
    resolved = {}
    for option, value in options.items():
        setting = option.removesuffix('_mult')
        if setting not in OF_THE_RUN and not _accepts(optimizer_cfg, setting):
            if setting != 'lars_exclude':
                raise ConfigError(
                    f"{where}: optimizer type='{optimizer_cfg['type']}' has no {setting}. Remove the option."
                )
            continue
        if option != setting:
            if setting not in optimizer_cfg:
                raise ConfigError(
                    f'{where}: {option} multiplies the {setting} of the optimizer, which is not given; '
                    f'write {setting} into `optimizer`.'
                )
            value = optimizer_cfg[setting] * value
        resolved[setting] = value
    return resolved


def _accepts(optimizer_cfg: dict, setting: str) -> bool:
    """False when the optimizer has no such setting; torch takes any key of a group without a word, and would not use it."""
    if 'type' not in optimizer_cfg:
        return True
    kind = optimizer_cfg['type']
    return setting in inspect.signature(OPTIMIZERS.get(kind) if isinstance(kind, str) else kind).parameters


def nearest_names(pattern: str, names: list[str]) -> str:
    """Parameter names that resemble the letters of a pattern, as a sentence."""
    words = re.sub(r'\\[AZbBdDsSwW]', '', pattern)
    words = re.sub(r'[^\w.]', '', words.replace('\\.', '.')).strip('.')
    pieces: dict[str, str] = {}  # part or prefix of a name -> the first name that has it
    for name in names:
        parts = name.split('.')
        for piece in (*parts, *('.'.join(parts[:n]) for n in range(2, len(parts) + 1))):
            pieces.setdefault(piece, name)
    close = difflib.get_close_matches(words, list(pieces), n=6, cutoff=0.5)
    nearest = list(dict.fromkeys(pieces[piece] for piece in close))[:3] or names[:3]
    return f' Nearest parameter names: {", ".join(repr(n) for n in nearest)}.' if nearest else ''
