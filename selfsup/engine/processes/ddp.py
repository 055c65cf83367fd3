"""The model on its device and on several processes; parameters without a gradient there, by name: torch tells their numbers, too late."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel

from ...errors import ConfigError
from .fsdp import Sharded

NAMES_SHOWN = 5
UNFINISHED = 'Expected to have finished reduction in the prior iteration'


def wrap(
    model: nn.Module,
    device: torch.device,
    *,
    distributed: bool,
    channels_last: bool,
    find_unused_parameters: bool,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> nn.Module:
    """Move `model` to the device; `distributed`: DistributedDataParallel on CPU or GPU around it.

    Buffers are not broadcast at each step (as documented: every rank keeps its own running statistics; rank 0's are
    saved). Queues and banks stay equal because each rank computes them from gathered values.

    Args:
        model: an algorithm.
        device: of this process.
        distributed: there is a process group.
        channels_last: maps and filters lie in NHWC memory.
        find_unused_parameters: torch's switch.
        options: `bucket_cap_mb` and `gradient_as_bucket_view` are torch's; `compress` 'fp16' or 'bf16': gradients travel in that type,
            each process's divided by their number first. (Torch's `static_graph` is not offered: it looks for tensors in what the model
            returns, finds none in a `Step`, and leaves the gradients of the first step as they are on each process.)
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
    compress = options.get('compress')
    settings.update({name: value for name, value in options.items() if name != 'compress'})
    wrapped = DistributedDataParallel(model, device_ids=[device.index] if device.type == 'cuda' else None, **settings)
    if compress:
        wrapped.register_comm_hook(None, getattr(default_hooks, f'{compress}_compress_hook'))
    return wrapped


@contextlib.contextmanager
def exchanging(model: nn.Module, closes: bool) -> Iterator[None]:
    """Around the two passes of a micro-batch: processes exchange gradients only with the last of a window, which `closes` it."""
    if isinstance(model, Sharded):
        cast(Any, model).set_requires_gradient_sync(closes)
        yield
    elif isinstance(model, DistributedDataParallel) and not closes:
        with model.no_sync():
            yield
    else:
        yield


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
