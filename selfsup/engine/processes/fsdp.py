"""Weights, gradients and optimizer state dealt out over the processes (FSDP2, `torch.distributed.fsdp.fully_shard`).

Zhao et al. 2023, arXiv:2304.11277; the form with a `DTensor` per parameter. Each process keeps 1 / W of every tensor. A block of the
backbone is gathered when it runs and given back after it; its gradients are summed where their share lies. Checkpoints hold whole
tensors, as those of any other run: `full_state` and `full_optimizer` gather them, `distributed.dealt_like` deals them out again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import torch
from mmengine.hooks import EMAHook as MMEMAHook
from torch import Tensor, nn

from ... import distributed as dist
from ...distributed import Wrapped
from ...errors import ConfigError

T = TypeVar('T')
NEWEST = (
    2,
    12,
)  # from here on fully_shard finds tensors inside of dataclasses, which `Step` and partly visible maps are
WHOLE_NORMS = ('LARS', 'LAMB', 'BarlowLARS', 'LARC')  # they take the norm of each weight, which no process has whole


@runtime_checkable
class InBlocks(Protocol):
    """A backbone that says what it is dealt out in."""

    def blocks(self) -> list[nn.Module]:
        """Parts that run one after the other and hold most of the weights."""


class Sharded(Wrapped):
    """Around an algorithm whose parameters are dealt out. `shard` makes it an `FSDPModule` as well."""

    def forward(self, batch: dict[str, Any], mode: str = 'loss') -> Any:
        """See `Algorithm.forward`."""
        return self.module(batch, mode=mode)

    def run(self, act: Callable[[], T]) -> T:
        """Call `act` while the weights outside of the blocks are whole."""
        return act()


def shard(model: nn.Module, device: torch.device, settings: Mapping[str, Any], *, channels_last: bool) -> nn.Module:
    """Deal out `model` over all processes. A collective.

    Args:
        model: an algorithm whose backbone is `InBlocks`; all processes take the weights of process 0.
        device: of this process.
        settings: `reshard_after_forward`: True gives the weights of a block back between its forward and its backward pass, too.
        channels_last: as the run asks for it.

    Raises:
        ConfigError: the algorithm, the settings or this version of torch do not go with it.
    """
    _check(model, channels_last)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    model = model.to(device)
    for value in (*model.parameters(), *model.buffers()):
        dist.broadcast(value.data)
    mesh = init_device_mesh(device.type, (dist.world_size(),))
    options: dict[str, Any] = {'mesh': mesh, 'reshard_after_forward': settings.get('reshard_after_forward', True)}
    for block in cast(InBlocks, model.get_submodule('backbone')).blocks():
        if any(True for _ in block.parameters()):
            fully_shard(block, **options)
    wrapped = Sharded(model)
    fully_shard(wrapped, **options)
    register_fsdp_forward_method(wrapped, 'run')
    return wrapped


def _check(model: nn.Module, channels_last: bool) -> None:
    name, backbone = type(model).__name__, getattr(model, 'backbone', None)
    why = ''
    if not isinstance(backbone, InBlocks):
        why = f'a {type(backbone).__name__} does not say its blocks(): it is for ConvNeXt, ConvNeXtV2 and SLaK'
    elif getattr(model, 'momentum_copies', ()) or hasattr(model, 'memory_bank'):
        why = f'{name} keeps a momentum copy or a bank, which follow whole weights'
    elif getattr(model, 'path', 'visible') == 'masked':
        why = "model.path='masked' is the slow reference: leave it at 'visible'"
    elif channels_last:
        why = 'channels_last=True: it deals out weights that lie in one piece only'
    elif tuple(int(n) for n in torch.__version__.split('.')[:2]) < NEWEST:
        why = f'torch {torch.__version__}: it needs {".".join(map(str, NEWEST))} or newer'
    if why:
        raise _refused(why)


def check_run(model: nn.Module, optim_wrapper: Any, hooks: Sequence[Any]) -> None:
    """Refuse an optimizer or a hook that needs whole weights, where `model` has none.

    Raises:
        ConfigError: it is so.
    """
    if not isinstance(model, Sharded):
        return
    kind = type(optim_wrapper.optimizer).__name__
    if kind in WHOLE_NORMS:
        raise _refused(f'{kind} scales each weight by its norm: use AdamW or SGD')
    if getattr(getattr(optim_wrapper, 'loss_scaler', None), 'is_enabled', lambda: False)():
        raise _refused("mixed precision in float16 scales the loss: set optim_wrapper.dtype='bfloat16'")
    for hook in hooks:
        if not getattr(hook, 'takes_sharded', True) or isinstance(hook, MMEMAHook):
            raise _refused(f'{type(hook).__name__} works on whole weights: remove it')


def _refused(why: str) -> ConfigError:
    return ConfigError(f'fsdp cannot be used here: {why}, or leave fsdp out.')


def with_weights(model: nn.Module, act: Callable[[], T]) -> T:
    """What `act` returns, which calls the algorithm inside of `model` without a gradient. A collective where weights are dealt out."""
    if not isinstance(model, Sharded):
        return act()
    with torch.no_grad():
        try:
            return model.run(act)
        finally:
            cast(Any, model).reshard()


def full_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with its dealt-out tensors whole: on process 0 in host memory, elsewhere on 'meta'.

    Other tensors are as they are. A collective, which holds one whole tensor at a time on the other processes.
    """
    return {name: _for_main(value) for name, value in state.items()}


def full_optimizer(state: dict[str, Any]) -> dict[str, Any]:
    """The same for the state of an optimizer wrapper. A collective."""
    of_weights = {
        number: {name: _for_main(value) for name, value in values.items()} for number, values in state['state'].items()
    }
    return {**state, 'state': of_weights}


def dealt_optimizer(state: dict[str, Any], parameters: Sequence[Tensor]) -> dict[str, Any]:
    """The inverse: each process takes its shares of a whole state.

    Args:
        state: of an optimizer, as a checkpoint holds it.
        parameters: of the optimizer that is to take it, in the order of its groups.
    """
    numbers = [number for group in state['param_groups'] for number in group['params']]
    owners = dict(zip(numbers, parameters, strict=True))
    of_weights = {
        number: {
            name: dist.dealt_like(value, owners[number])
            if isinstance(value, Tensor) and number in owners and value.shape == owners[number].shape
            else value
            for name, value in values.items()
        }
        for number, values in state['state'].items()
    }
    return {**state, 'state': of_weights}


def _for_main(value: Any) -> Any:
    if not dist.is_dealt(value):
        return value
    whole = dist.whole(value.detach())
    return whole.cpu() if dist.is_main() else torch.empty_like(whole, device='meta')
