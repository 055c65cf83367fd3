"""Pooled features of one or several layers of the network that is trained, taken without leaving a trace in its training."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ... import distributed as dist
from ...engine import Run, unwrap
from ...errors import ConfigError, did_you_mean
from ...evaluation.features import evaluating

LAST = ''  # name of the layer that evaluations read: the last map, averaged


@contextmanager
def untouched(runner: Run) -> Iterator[Any]:
    """Gives the algorithm, in evaluation mode and without gradients; on leaving, the run is as it was.

    Modes of all modules, buffers of the backbone and the states of all generators of random numbers come back. Inside, the backbone
    of every rank has the buffers of rank 0, as each keeps its own running statistics. What `torch.compile` has made of the backbone is
    not used: batches of other sizes would count towards its limit of recompilations, which decides how training batches run.
    """
    algorithm: Any = unwrap(runner.model)
    # CUDA's generator moves in evaluation mode only if a layer draws there; its state lies in host memory.
    device = runner.device if runner.device.type == 'cuda' else None
    python, numpy, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    of_device = torch.cuda.get_rng_state(device) if device else None
    try:
        with _buffers_of_main(algorithm.get_submodule('backbone')), evaluating(algorithm), _eager(algorithm):
            yield algorithm
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(torch_state)
        if device is not None and of_device is not None:
            torch.cuda.set_rng_state(of_device, device)


def _eager(algorithm: nn.Module) -> Any:
    compiled = any(getattr(module, '_compiled_call_impl', None) is not None for module in algorithm.modules())
    set_stance = getattr(torch.compiler, 'set_stance', None)  # from torch 2.6 on
    return set_stance('force_eager') if compiled and set_stance else nullcontext()


@contextmanager
def _buffers_of_main(backbone: nn.Module) -> Iterator[None]:
    """The float buffers of rank 0 in `backbone`, for a while."""
    buffers = [buffer for buffer in backbone.buffers() if buffer.is_floating_point() and not dist.is_dealt(buffer)]
    if dist.world_size() == 1 or not buffers:
        yield
        return
    former = [buffer.clone() for buffer in buffers]
    joined = torch.cat([buffer.flatten().double() for buffer in buffers])  # one message instead of a hundred; exact
    dist.broadcast(joined)
    for buffer, value in zip(buffers, joined.split([buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_(value.view_as(buffer))
    try:
        yield
    finally:
        for buffer, value in zip(buffers, former, strict=True):
            buffer.copy_(value)


def layer_features(algorithm: Any, img: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Features of images by layer, one forward pass for all.

    Args:
        algorithm: an algorithm in evaluation mode.
        img: (B, C, H, W).
        layers: names of modules of the backbone.

    Returns:
        `LAST` -> what evaluations read (B, D), and each layer -> (B, D), its output averaged over positions; float32.

    Raises:
        ConfigError: the backbone has no such module, or it does not give one map or one row of tokens per image.
    """
    outputs: dict[str, Any] = {}
    backbone = algorithm.get_submodule('backbone')
    with ExitStack() as stack:
        for name in layers:
            keep = _keeper(outputs, name)
            stack.callback(_module(backbone, name).register_forward_hook(keep).remove)
        found = {LAST: algorithm.features(img).float()}
    for name in layers:
        if name not in outputs:
            raise ConfigError(
                f'ProbeHook layers: {name!r} of the {type(backbone).__name__} does not run when features are taken: name a stage.'
            )
        found[name] = _pooled(outputs[name], name, len(img))
    return found


def _keeper(outputs: dict[str, Any], name: str) -> Any:
    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        outputs[name] = output  # the last call counts where a module is called several times

    return keep


def _module(backbone: nn.Module, name: str) -> nn.Module:
    known = [known for known, _ in backbone.named_modules() if known]
    if name not in known:
        stages = [known for known in known if known.count('.') < 2]
        raise ConfigError(
            f'ProbeHook layers: the {type(backbone).__name__} has no module {name!r}.{did_you_mean(name, stages)}'
        )
    return backbone.get_submodule(name)


def _pooled(output: Any, name: str, images: int) -> Tensor:
    """(B, D) of the output of a layer: a map (B, C, H, W), tokens (B, N, C), or a vector (B, C)."""
    while isinstance(output, list | tuple) and output:
        output = output[-1]
    if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4) or len(output) != images:
        form = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ConfigError(
            f'ProbeHook layers: {name!r} gives {form} for {images} images, neither maps (B, C, H, W) nor tokens (B, N, C): name a stage.'
        )
    axes: tuple[int, ...] = {2: (), 3: (1,), 4: (2, 3)}[output.ndim]
    return output.float().mean(axes) if axes else output.float()
