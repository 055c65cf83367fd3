"""torch.compile for the networks of an algorithm, in place: modules, their names and their state dicts stay what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ...contracts import PredictsMaps, Reconstructing
from ...errors import ConfigError


def compile_backbone(model: nn.Module, settings: Mapping[str, Any]) -> None:
    """Compile the backbone of `model` and the momentum copies of it.

    Each size of a batch is compiled for itself (`dynamic=False`), so that the numbers of a batch do not depend on which others came before
    it: a resumed run compiles other sizes first, and stays exact.

    Args:
        model: an algorithm, before it is wrapped.
        settings: `backend`, `mode` and `dynamic` of `torch.compile`.

    Raises:
        ConfigError: a masked method, whose backbone is handed maps and not tensors.
    """
    if isinstance(model, Reconstructing | PredictsMaps):
        raise ConfigError(
            f'compile cannot be used with {type(model).__name__}: its backbone runs on maps with hidden blocks, of which torch.compile '
            'can trace a few operations at a time, anew for each number of visible blocks. Leave compile out.'
        )
    followers = [name for part, name in getattr(model, 'momentum_copies', ()) if part == 'backbone']
    for name in ('backbone', *followers):
        model.get_submodule(name).compile(**{'dynamic': False, **settings})
