"""How large a model is and how much it computes for one image, with and without what is exactly zero."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.flop_counter import FlopCounterMode

from ..features import evaluating


def size_and_nonzero(module: nn.Module) -> tuple[int, int]:
    """Number of parameters, and of those that are not exactly zero."""
    return sum(p.numel() for p in module.parameters()), sum(
        int(p.detach().count_nonzero()) for p in module.parameters()
    )


def _image(model: Any, size: int) -> Tensor:
    """One image of the channels that the backbone takes, without memory."""
    return torch.empty(1, getattr(model.backbone, 'in_channels', 3), size, size, device='meta')


def flops(model: Any, size: int) -> dict[str, int]:
    """FLOPs of the backbone per module name ('backbone' in all), for one image of size x size; 2 per multiplication with its addition.

    Nothing is computed: the model is moved to the meta device, which loses its weights.
    """
    model = model.to('meta').eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.extract(_image(model, size))
    root = type(model.backbone).__name__
    counts = {
        name.replace(root, 'backbone', 1): sum(ops.values())
        for name, ops in counter.get_flop_counts().items()
        if name == root or name.startswith(root + '.')
    }
    return {'backbone': counter.get_total_flops(), **counts}


def nonzero_flops(model: Any, size: int) -> tuple[int, int]:
    """FLOPs of the backbone's convolutions and linear layers for one image of size x size, and those of them by a weight that is not zero.

    A weight is used once for every position of its layer's output, 2 FLOPs each; a token is a position, in whatever layout the layer gets
    its maps. Positions at the border count in full, although their kernels see padding, as is usual. As with `flops`, the weights of the
    model are lost.
    """
    layers: dict[Any, tuple[int, int]] = {
        m: (m.weight.numel(), int(m.weight.detach().count_nonzero()))
        for m in model.backbone.modules()
        if isinstance(m, nn.Linear | _ConvNd)
    }
    totals = [0, 0]  # all, and those by a weight that is not zero

    def count(layer: Any, inputs: Any, output: Tensor) -> None:
        positions = output.numel() // (layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)
        for i, weights in enumerate(layers[layer]):
            totals[i] += 2 * positions * weights

    handles = [layer.register_forward_hook(count) for layer in layers]
    with evaluating(model.to('meta')):
        model.extract(_image(model, size))
    for handle in handles:
        handle.remove()
    return totals[0], totals[1]
