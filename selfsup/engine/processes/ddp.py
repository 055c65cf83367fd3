"""The model on its device and on several processes; parameters without a gradient there, by name: torch tells their numbers, too late."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ...errors import ConfigError

NAMES_SHOWN = 5
UNFINISHED = 'Expected to have finished reduction in the prior iteration'


def wrap(
    model: nn.Module, device: torch.device, *, distributed: bool, channels_last: bool, find_unused_parameters: bool
) -> nn.Module:
    """Move `model` to the device; `distributed`: DistributedDataParallel on CPU or GPU around it.

    Buffers are not broadcast at each step (as documented: every rank keeps its own running statistics; rank 0's are
    saved). Queues and banks stay equal because each rank computes them from gathered values.
    """
    model = model.to(device)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    if not distributed:
        return model
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    # newer torch warns of the old name
    buffers = 'forward_sync_buffers' if 'forward_sync_buffers' in known else 'broadcast_buffers'
    settings: dict[str, Any] = {buffers: False, 'find_unused_parameters': find_unused_parameters}
    return DistributedDataParallel(model, device_ids=[device.index] if device.type == 'cuda' else None, **settings)


def refuse_unused(model: nn.Module) -> None:
    """Called after the first backward pass.

    DDP waits for the gradient of every parameter before it averages a bucket of them, so with one parameter left out others keep the
    gradient of their own process: silently wrong in this step, torch's error in the next.

    Args:
        model: wrapped or not; one process needs no gradient for every parameter.

    Raises:
        ConfigError: several processes, `find_unused_parameters=False`, and a trainable parameter has no gradient.
    """
    if isinstance(model, DistributedDataParallel) and not model.find_unused_parameters:
        unused = [name for name, value in model.module.named_parameters() if value.requires_grad and value.grad is None]
        if unused:
            raise _error(unused)


@contextlib.contextmanager
def explain_unfinished(model: nn.Module) -> Iterator[None]:
    """Around a forward pass: torch's error about parameters that were left out of a LATER step, with their names."""
    try:
        yield
    except RuntimeError as error:
        if UNFINISHED not in str(error):
            raise
        names = [name for name, value in getattr(model, 'module', model).named_parameters() if value.requires_grad]
        numbers = re.search(r'did not receive grad for rank \d+: ([\d ]+)', str(error))
        raise _error([names[int(i)] for i in numbers[1].split()] if numbers else []) from error


def _error(unused: list[str]) -> ConfigError:
    shown = ', '.join(unused[:NAMES_SHOWN]) + (
        f' and {len(unused) - NAMES_SHOWN} more' if len(unused) > NAMES_SHOWN else ''
    )
    return ConfigError(
        f'The loss does not depend on the parameters {shown or "(unnamed)"}: several processes then cannot average their '
        'gradients. Remove them or let the loss use them, or set find_unused_parameters=True, which is slower.'
    )
