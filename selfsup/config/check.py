"""Check a merged config against the key table and the registries. Every problem is one line; none stops the others."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from ..errors import did_you_mean
from . import keys
from .arguments import check_typed, is_literal
from .locate import Place

Path = tuple[str, ...]
NORMALISING = ('ToTensor', 'Normalize')


class Report:
    """Collects problems; knows where each path was written."""

    def __init__(self, places: dict[str, Place], display: Callable[[str], str], path: str) -> None:
        self.places = places
        self.display = display
        self.path = path
        self.found: list[tuple[Place, str]] = []

    def place(self, path: Path) -> Place:
        """Place of the longest part of `path` that was written."""
        for n in range(len(path), 0, -1):
            if '.'.join(path[:n]) in self.places:
                return self.places['.'.join(path[:n])]
        return self.path, 0

    def at(self, path: Path) -> str:
        """`(configs/x.py:12)`."""
        file, line = self.place(path)
        return (
            f'({self.display(file)}:{line})' if line else f'({file if file.startswith("--") else self.display(file)})'
        )

    def add(self, path: Path, text: str) -> None:
        """Note the problem 'dotted.path' + text."""
        self.found.append((self.place(path), '.'.join(path) + text))

    def inherited(self, path: Path, key: str) -> str:
        """What to do about an argument that a base file gave to another type."""
        own, base = self.place((*path, 'type'))[0], self.place((*path, key))[0]
        if base == own or base.startswith('--') or own.startswith('--'):
            return ''
        return f' {self.display(base)} gives it; write _delete_=True beside type to drop what a base file says.'

    def lines(self) -> list[str]:
        """The problems in the order of files and lines, each once."""
        return list(dict.fromkeys(text for _, text in sorted(self.found, key=lambda f: f[0])))


def check(cfg: dict[str, Any], places: dict[str, Place], display: Callable[[str], str], path: str) -> list[str]:
    """Problems of a merged config, one line each.

    Args:
        cfg: plain dicts, only top-level names of the key table.
        places: dotted path -> (file, line).
        display: how a file is written in messages.
        path: the config file, for what is missing.
    """
    report = Report(places, display, path)
    for name, value in cfg.items():
        _check_literals((name,), value, report)
    index = {tuple(k.path.split('.')): k for k in keys.all_keys()}
    for name, value in cfg.items():
        if value is not None:  # None counts as absent
            _check_key((name,), (keys.ALIASES.get(name, name),), value, index[(name,)], index, report)
    _check_spellings(cfg, report)
    _check_required(cfg, report)
    _check_meaning(cfg, report)
    return report.lines()


def is_absent(cfg: dict, name: str) -> bool:
    """True for a key that is missing, None or, as old files write it, an empty `train_cfg` or `test_cfg`."""
    value = cfg.get(name)
    return value is None or (name in ('train_cfg', 'test_cfg') and value == {})


def _check_literals(path: Path, value: Any, report: Report) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_literals((*path, str(key)), inner, report)
    elif isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            _check_literals((*path, str(i)), inner, report)
    elif not is_literal(value):
        report.add(
            path,
            f'={value!r} {report.at(path)} is no literal: write numbers, strings, True, False, None, lists and dicts only '
            '(a class by its name in quotes).',
        )


# ---- the key table ----

ATOMS: MappingProxyType[str, Callable[[Any], bool]] = MappingProxyType(
    {
        'None': lambda v: v is None,
        'bool': lambda v: isinstance(v, bool),
        'int': lambda v: isinstance(v, int) and not isinstance(v, bool),
        'float': lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v),
        'str': lambda v: isinstance(v, str),
        'dict': lambda v: isinstance(v, dict),
        'list': lambda v: isinstance(v, (list, tuple)),
    }
)
BOUNDS: MappingProxyType[str, Callable[[float], bool]] = MappingProxyType(
    {
        '> 0': lambda v: v > 0,
        '>= 0': lambda v: v >= 0,
        'in [0, 1]': lambda v: 0 <= v <= 1,
        'in (0, 1]': lambda v: 0 < v <= 1,
    }
)


def is_kind(value: Any, kind: str) -> bool:
    """True when `value` is of a kind as the key table writes them (`int > 0 or None`)."""
    return any(_is_atom(value, atom) for atom in kind.split(' or '))


def _is_atom(value: Any, atom: str) -> bool:
    if atom.startswith('one of '):
        return isinstance(value, str) and value in atom.split()[2:]
    if atom.startswith('list of '):
        return isinstance(value, (list, tuple)) and all(ATOMS[atom[8:]](v) for v in value)
    name, _, bound = atom.partition(' ')
    return ATOMS[name](value) and (not bound or BOUNDS[bound](value))


def _check_key(
    path: Path, pattern: Path, value: Any, key: keys.Key, index: dict[Path, keys.Key], report: Report
) -> None:
    """Check a value against its row, and what is inside against the rows below."""
    if not is_kind(value, key.kind):
        wanted = key.kind.replace('one of ', 'one of: ')
        near = (
            did_you_mean(value, key.kind.split(' or ')[0].split()[2:])
            if isinstance(value, str) and 'one of' in key.kind
            else ''
        )
        report.add(path, f'={value!r} {report.at(path)} must be {wanted}.{near.partition(" Known:")[0]}')
        return
    below = {p[-1]: k for p, k in index.items() if len(p) == len(pattern) + 1 and p[:-1] == pattern}
    if key.registry:
        slot_type = keys.DEFAULT_HOOKS.get(path[-1]) if path[0] == 'default_hooks' else None
        check_typed(path, value, key.registry, report, _extra(key, below), slot_type)
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, (list, tuple)) and '*' in below
        else ()
    )
    for name, inner in items:
        name = str(name)
        row = name if name in below else '*'
        if row in below:
            _check_key((*path, name), (*pattern, row), inner, below[row], index, report)
        elif below and not key.registry:
            report.add(
                (*path, name),
                f' {report.at((*path, name))} is not a key of {".".join(path)}.{did_you_mean(name, below)}',
            )
    if isinstance(value, dict):
        for name, row in below.items():
            if row.required and name not in value:
                report.add(path, f" {report.at(path)} lacks '{name}', for example {name}={row.example}.")


def _extra(key: keys.Key, below: dict[str, keys.Key]) -> tuple[str, ...]:
    """Rows below a typed dict that are no arguments of the type but ours."""
    return tuple(n for n in below if n in ('pretrained', 'paramwise_options', 'layer_decay', 'base_lr'))


# ---- sections ----


def _check_spellings(cfg: dict, report: Report) -> None:
    """Each section in one spelling."""
    for section in keys.SECTIONS:
        short = [n for n in keys.top_names(section.short) if not is_absent(cfg, n)]
        own = [n for n in keys.top_names(section.own) if not is_absent(cfg, n)]
        if section is keys.HOOKS and own:  # only the slots that a short section fills as well
            short = [n for n in short if keys.HOOK_SLOTS[n] in cfg['default_hooks']]
        if short and own:
            report.add(
                (own[0],),
                f' {report.at((own[0],))} and {short[0]} {report.at((short[0],))} are two spellings of one section '
                f'({section.title}). Keep one; what a base file says is dropped with {short[0]} = None.',
            )


def _check_required(cfg: dict, report: Report) -> None:
    needed = (
        (('model',), "model = dict(type='MOCO', ...)"),
        (('data', 'train_dataloader'), 'data = dict(imgs_per_gpu=32, train=dict(...))'),
        (('optimizer', 'optim_wrapper'), "optimizer = dict(type='SGD', lr=0.03)"),
        (('total_epochs', 'total_iters', 'train_cfg'), 'total_epochs = 200'),
    )
    for names, example in needed:
        if all(is_absent(cfg, n) for n in names):
            report.found.append(
                ((report.path, 0), f'{report.display(report.path)} has no {" or ".join(names)}. Write {example}.')
            )


def _check_meaning(cfg: dict, report: Report) -> None:
    """Combinations of keys that cannot be meant."""
    for check_one in (
        _check_paramwise,
        _check_base_lr,
        _check_policy,
        _check_length,
        _check_fp16,
        _check_prefetch,
        _check_rest,
    ):
        check_one(cfg, report)


def _dict(cfg: Any, *path: str) -> dict:
    """The dict at `path`, {} where there is none."""
    for name in path:
        cfg = cfg.get(name) if isinstance(cfg, dict) else None
    return cfg if isinstance(cfg, dict) else {}


def _check_paramwise(cfg: dict, report: Report) -> None:
    wrapper_cfg = _dict(cfg, 'optim_wrapper', 'paramwise_cfg')
    for name in wrapper_cfg:
        if name != 'paramwise_options':
            path = ('optim_wrapper', 'paramwise_cfg', name)
            report.add(
                path,
                f' {report.at(path)} is not supported. Write paramwise_cfg=dict(paramwise_options='
                "{'(bn|gn)(\\d+)?.(weight|bias)': dict(weight_decay=0.), 'bias': dict(weight_decay=0.)}).",
            )
    known = [k.path for k in keys.PARAMWISE_KEYS]
    for path in (
        ('optimizer', 'paramwise_options'),
        ('optim_wrapper', 'paramwise_options'),
        ('optim_wrapper', 'paramwise_cfg', 'paramwise_options'),
    ):
        for pattern, values in _dict(cfg, *path).items():
            here = (*path, str(pattern))
            try:
                re.compile(pattern)
            except (re.error, TypeError) as error:
                report.add(here, f' {report.at(here)} is not a regular expression: {error}.')
            if path[1] == 'paramwise_cfg':  # the table has no rows for it, to say the keys once
                for key in values if isinstance(values, dict) else ():
                    if key not in known:
                        report.add(
                            (*here, key),
                            f' {report.at((*here, key))} is not a key of {".".join(here)}.{did_you_mean(key, known)}',
                        )


def _check_base_lr(cfg: dict, report: Report) -> None:
    for path in (('optimizer',), ('optim_wrapper', 'optimizer')):
        own = _dict(cfg, *path)
        if 'lr' in own and 'base_lr' in own:
            lr, base = (*path, 'lr'), (*path, 'base_lr')
            report.add(
                base,
                f' {report.at(base)} and {".".join(lr)} {report.at(lr)} are both set. Keep one; _delete_=True in the dict '
                'drops what a base file says.',
            )


def _check_policy(cfg: dict, report: Report) -> None:
    _check_one_policy(('lr_config',), _dict(cfg, 'lr_config'), report)
    schedulers = cfg.get('param_scheduler')
    for i, own in enumerate(schedulers if isinstance(schedulers, (list, tuple)) else [schedulers]):
        if isinstance(own, dict) and own.get('type') == 'PolicyLR':
            _check_one_policy(('param_scheduler', str(i)), own, report)


def _check_one_policy(path: Path, lr: dict, report: Report) -> None:
    """The arguments that a policy and its warm-up have; the key table holds their kinds."""
    if isinstance(lr.get('policy'), str):
        policy = policy_name(lr['policy'])
        here = (*path, 'policy')
        if policy is None:
            report.add(
                here, f"='{lr['policy']}' {report.at(here)} is not a policy.{did_you_mean(lr['policy'], keys.POLICIES)}"
            )
            return
        needed, optional = keys.POLICIES[policy]
        for name in needed:
            if name not in lr:
                report.add(here, f"='{lr['policy']}' {report.at(here)} needs {name}.")
        general = ('policy', 'by_epoch', 'warmup', 'warmup_iters', 'warmup_ratio', 'warmup_by_epoch')
        for name in lr:
            if name in keys.LR_CONFIG_KEYS and name not in (*needed, *optional, *general):
                here = (*path, name)
                report.add(
                    here,
                    f" {report.at(here)} is not an argument of policy '{policy}'.{did_you_mean(name, (*needed, *optional))}",
                )
        if 'min_lr' in lr and 'min_lr_ratio' in lr:
            report.add((*path, 'min_lr'), f' {report.at((*path, "min_lr"))} and min_lr_ratio say the same. Keep one.')
        _check_warmup(path, lr, policy, report)
    if lr.get('warmup') is not None and not lr.get('warmup_iters'):
        report.add((*path, 'warmup'), f'={lr["warmup"]!r} {report.at((*path, "warmup"))} needs warmup_iters > 0.')
    if 'warmup' not in lr and lr.get('warmup_iters'):
        report.add(
            (*path, 'warmup_iters'), f" {report.at((*path, 'warmup_iters'))} does nothing without warmup='linear'."
        )


def _check_warmup(path: Path, lr: dict, policy: str, report: Report) -> None:
    """`WarmupCosine` warms up along a line and may start from 0; the others multiply the rate by a factor that is not 0."""
    cosine, warmup, ratio = policy == 'WarmupCosine', (*path, 'warmup'), (*path, 'warmup_ratio')
    if cosine and lr.get('warmup') not in (None, 'linear'):
        report.add(warmup, f"={lr['warmup']!r} {report.at(warmup)} must be 'linear' or None for policy 'WarmupCosine'.")
    if not cosine and lr.get('warmup') is not None and lr.get('warmup_ratio') == 0:
        report.add(ratio, f'={lr["warmup_ratio"]!r} {report.at(ratio)} must be float in (0, 1].')


def policy_name(written: str) -> str | None:
    """The policy's name as the key table writes it; None for no policy."""
    names = {name.lower(): name for name in keys.POLICIES} | {'cosine': 'CosineAnnealing'}
    return names.get(written.lower())


def _check_length(cfg: dict, report: Report) -> None:
    if not is_absent(cfg, 'total_epochs') and not is_absent(cfg, 'total_iters'):
        report.add(
            ('total_iters',),
            f' {report.at(("total_iters",))} and total_epochs {report.at(("total_epochs",))} are both set. Keep one.',
        )
    train = _dict(cfg, 'train_cfg')
    if train and ('max_epochs' in train) == ('max_iters' in train):
        report.add(('train_cfg',), f' {report.at(("train_cfg",))} needs one of max_epochs and max_iters.')
    elif train:
        by_epoch = 'max_epochs' in train
        said = [
            train.get('by_epoch', by_epoch),
            train.get('type', '') != ('IterBasedTrainLoop' if by_epoch else 'EpochBasedTrainLoop'),
        ]
        if said[0] is not by_epoch or not said[1]:
            report.add(
                ('train_cfg',),
                f' {report.at(("train_cfg",))} gives max_{"epochs" if by_epoch else "iters"} '
                f'but says that it counts {"iterations" if by_epoch else "epochs"}.',
            )
    if cfg.get('test_cfg') not in (None, {}):
        report.add(('test_cfg',), f' {report.at(("test_cfg",))} has no effect. Remove it, or write test_cfg = {{}}.')


def _check_fp16(cfg: dict, report: Report) -> None:
    inner = _dict(cfg, 'optimizer_config')
    if 'use_fp16' in cfg and 'use_fp16' in inner and cfg['use_fp16'] is not inner['use_fp16']:
        report.add(
            ('use_fp16',),
            f'={cfg["use_fp16"]} {report.at(("use_fp16",))} and optimizer_config.use_fp16={inner["use_fp16"]} '
            f'{report.at(("optimizer_config", "use_fp16"))} contradict each other.',
        )


def _check_prefetch(cfg: dict, report: Report) -> None:
    loaders = [(('data', n), _dict(cfg, 'data', n), cfg) for n in ('train', 'val', 'test')]
    loaders += [
        ((n, 'dataset'), _dict(cfg, n, 'dataset'), {**cfg, **_dict(cfg, n)})
        for n in ('train_dataloader', 'val_dataloader', 'test_dataloader')
    ]
    for path, dataset, settings in loaders:
        if dataset and dataset.get('prefetch', settings.get('prefetch')):
            _check_prefetched(path, dataset, settings, report)
    hooks = cfg.get('custom_hooks')
    for i, hook in enumerate(
        hooks if isinstance(hooks, (list, tuple)) else ()
    ):  # each says itself how its data set is read
        for path, settings in (
            (('custom_hooks', str(i)), _dict(hook)),
            (('custom_hooks', str(i), 'extractor'), _dict(hook, 'extractor')),
        ):
            dataset, here = _dict(settings, 'dataset'), (*path, 'dataset')
            if dataset and settings.get('prefetch'):
                _check_prefetched(here, dataset, settings, report)
            elif dataset.get('prefetch'):
                report.add(
                    (*here, 'prefetch'),
                    f'=True {report.at((*here, "prefetch"))}, but {".".join(path)} does not normalise what it '
                    'reads: write prefetch=True and img_norm_cfg=dict(mean=[...], std=[...]) beside dataset.',
                )


def _check_prefetched(path: Path, dataset: dict, settings: dict, report: Report) -> None:
    """A data set that a loader normalises: it can, and the pipeline does not."""
    if not settings.get('img_norm_cfg'):
        report.add(
            path,
            f' {report.at(path)} is read with prefetch=True, which needs img_norm_cfg = dict(mean=[...], std=[...]).',
        )
    for name, steps in dataset.items():
        for i, step in enumerate(steps if name.startswith('pipeline') and isinstance(steps, (list, tuple)) else ()):
            if isinstance(step, dict) and step.get('type') in NORMALISING:
                here = (*path, name, str(i))
                report.add(
                    here,
                    f' {report.at(here)} is {step["type"]}, but with prefetch=True the loader does that. Remove it from '
                    'the pipeline, or set prefetch=False.',
                )


def _check_rest(cfg: dict, report: Report) -> None:
    workflow = cfg.get('workflow')
    if workflow is not None and [tuple(w) if isinstance(w, (list, tuple)) else w for w in workflow] != [('train', 1)]:
        report.add(
            ('workflow',),
            f"={workflow!r} {report.at(('workflow',))} must be [('train', 1)]; "
            'validate with ValidateHook in custom_hooks.',
        )
    if _dict(cfg, 'data', 'sampler') and _dict(cfg, 'data').get('sampling_replace'):
        own, replace = ('data', 'sampler'), ('data', 'sampling_replace')
        report.add(
            own,
            f' {report.at(own)} and data.sampling_replace {report.at(replace)} both say how samples are drawn. Keep one.',
        )
    if _dict(cfg, 'model').get('pretrained') is not None and cfg.get('pretrained') is not None:
        report.add(
            ('pretrained',),
            f' {report.at(("pretrained",))} and model.pretrained {report.at(("model", "pretrained"))} '
            'are both set. Keep one.',
        )
    log_hooks = _dict(cfg, 'log_config').get('hooks')
    if log_hooks and cfg.get('visualizer'):
        report.add(
            ('visualizer',),
            f' {report.at(("visualizer",))} and log_config.hooks {report.at(("log_config", "hooks"))} '
            'both say where values are logged. Keep one.',
        )
