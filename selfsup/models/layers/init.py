"""Initial weights of the linear layers of necks and heads."""

from __future__ import annotations

from torch import nn

from ...errors import ConfigError


def init_linear_layers(module: nn.Module, init_linear: str = 'normal', std: float = 0.01, bias: float = 0.) -> None:
    """Set every `nn.Linear` inside `module`; norms keep their weight 1 and bias 0.

    Args:
        module: a neck or head.
        init_linear: 'normal' (mean 0, standard deviation `std`) or 'kaiming' (normal, fan in, gain of ReLU).
        std: standard deviation for 'normal'.
        bias: value of the biases.

    Raises:
        ConfigError: another `init_linear`.
    """
    if init_linear not in ('normal', 'kaiming'):
        raise ConfigError(f"init_linear={init_linear!r}: use 'normal' or 'kaiming'.")
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            if init_linear == 'normal':
                nn.init.normal_(layer.weight, std=std)
            else:
                nn.init.kaiming_normal_(layer.weight, mode='fan_in', nonlinearity='relu')
            if layer.bias is not None:
                nn.init.constant_(layer.bias, bias)
