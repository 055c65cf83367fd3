"""Which implementation of pipelines and decoders a config means: `pipeline_backend`, see docs/configs.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

Backend = Literal['fast', 'reference']
KEY = 'pipeline_backend'
BEFORE: Backend = 'reference'  # what every version without the setting computed
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# what every compiled config holds, and hardly a file that somebody writes holds all of
_COMPILED = ('train_cfg', 'optim_wrapper', 'param_scheduler', 'default_hooks', 'custom_hooks', 'env_cfg', 'visualizer', 'log_processor',
             'log_level', 'default_scope', 'find_unused_parameters', 'channels_last')  # fmt: skip


def default_backend(cfg: Mapping[str, Any]) -> Backend:
    """The backend of a loader of a config, in whichever spelling, where neither says it.

    Compiled configs name it; one that does not was compiled before there was a choice, and goes on with what it meant then.
    """
    return BEFORE if all(key in cfg for key in _COMPILED) else 'fast'


def names_backend(cfg: Mapping[str, Any]) -> bool:
    """Whether a config, as it was loaded, says itself how its training images are computed."""
    return KEY in cfg or KEY in (cfg.get(LOADERS[0]) or {})


def backend_of(compiled: Mapping[str, Any]) -> Backend:
    """The backend of the training images of a runner config, which hooks and protocols take for theirs."""
    return cast(Backend, (compiled.get(LOADERS[0]) or {}).get(KEY, BEFORE))


def with_backend(compiled: Mapping[str, Any], backend: str) -> dict[str, Any]:
    """A runner config whose loaders have that backend."""
    return {**compiled, **{name: {**compiled[name], KEY: backend} for name in LOADERS if compiled.get(name)}}


def recorded_backend(meta: Mapping[str, Any]) -> str | None:
    """What the `meta` of a checkpoint says of the backend of its run; None where it was written before there was a choice."""
    compiled = meta.get('compiled')
    loader = compiled.get(LOADERS[0]) if isinstance(compiled, dict) else None
    return loader.get(KEY) if isinstance(loader, dict) else None
