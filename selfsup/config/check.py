"""Check a merged config against the key table and the registries. Every problem is one line; none stops the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..errors import did_you_mean
from . import keys, typed
from .addresses import open_addresses
from .locate import Place
from .meaning import check_meaning
from .report import Path, Report


def check(cfg: dict[str, Any], places: dict[str, Place], display: Callable[[str], str], path: str) -> list[str]:
    """Problems of a merged config, one line each. Data sources written as strings become dicts in `cfg` first.

    Args:
        cfg: plain dicts, only top-level names of the key table.
        places: dotted path -> (file, line).
        display: how a file is written in messages.
        path: the config file, for what is missing.
    """
    report = Report(places, display, path)
    open_addresses(cfg, report)
    for name, value in cfg.items():
        _check_literals((name,), value, report)
    index = {tuple(k.path.split('.')): k for k in keys.all_keys()}
    for name, value in cfg.items():
        if value is not None:  # None counts as absent
            _check_key((name,), (keys.ALIASES.get(name, name),), value, index[(name,)], index, report)
    _check_spellings(cfg, report)
    _check_required(cfg, report)
    check_meaning(cfg, report)
    return report.lines()


def _check_literals(path: Path, value: Any, report: Report) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_literals((*path, str(key)), inner, report)
    elif isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            _check_literals((*path, str(i)), inner, report)
    elif not typed.is_literal(value):
        text = 'is no literal: write numbers, strings, True, False, None, lists and dicts only (a class by its name in quotes).'
        report.add(path, text, value)
        report.refused.add(path)


# ---- the key table ----


def _check_key(
    path: Path, pattern: Path, value: Any, key: keys.Key, index: dict[Path, keys.Key], report: Report
) -> None:
    """Check a value against its row, and what is inside against the rows below."""
    if not report.check(path, key.kind, value):
        return
    below = {p[-1]: k for p, k in index.items() if len(p) == len(pattern) + 1 and p[:-1] == pattern}
    if key.registry:
        slot_type = keys.DEFAULT_HOOKS.get(path[-1]) if path[0] == 'default_hooks' else None
        extra = tuple(n for n in below if n in ('pretrained', 'paramwise_options', 'layer_decay', 'base_lr'))
        typed.check_typed(path, value, typed.registry_of(key.registry), report, extra, slot_type)
    items: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else ()
    if isinstance(value, (list, tuple)) and '*' in below:
        items = enumerate(value)
    for name, inner in items:
        name = str(name)
        row = name if name in below else '*'
        if row in below:
            _check_key((*path, name), (*pattern, row), inner, below[row], index, report)
        elif below and not key.registry:
            report.add((*path, name), f'is not a key of {".".join(path)}.{did_you_mean(name, below)}')
    if isinstance(value, dict):
        for name, below_row in below.items():
            if below_row.required and name not in value:
                report.add(path, f"lacks '{name}', for example {name}={below_row.example}.")


# ---- sections ----


def _check_spellings(cfg: dict, report: Report) -> None:
    """Each section in one spelling."""
    for section in keys.SECTIONS:
        short = [n for n in keys.top_names(section.short) if not keys.is_absent(cfg, n)]
        native = [n for n in keys.top_names(section.native) if not keys.is_absent(cfg, n)]
        if section is keys.HOOKS and native:  # only the slots that a short section fills as well
            short = [n for n in short if keys.HOOK_SLOTS[n] in cfg['default_hooks']]
        if short and native:
            report.add(
                (native[0],),
                f'and {short[0]} {report.at((short[0],))} are two spellings of one section ({section.title}). Keep one; what a '
                f'base file says is dropped with {short[0]} = None.',
            )


def _check_required(cfg: dict, report: Report) -> None:
    needed = (
        (('model',), "model = dict(type='MOCO', ...)"),
        (('data', 'train_dataloader'), 'data = dict(imgs_per_gpu=32, train=dict(...))'),
        (('optimizer', 'optim_wrapper'), "optimizer = dict(type='SGD', lr=0.03)"),
        (('total_epochs', 'total_iters', 'train_cfg'), 'total_epochs = 200'),
    )
    for names, example in needed:
        if all(keys.is_absent(cfg, n) for n in names):
            report.add_missing(f'has no {" or ".join(names)}. Write {example}.')
