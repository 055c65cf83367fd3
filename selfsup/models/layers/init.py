"""Initial weights of necks, heads and ConvNeXt parts."""

from __future__ import annotations

from torch import nn

from ...errors import ConfigError


def init_linear_layers(module: nn.Module, init_linear: str = 'normal', std: float = 0.01, bias: float = 0.0) -> None:
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


def init_convnext(module: nn.Module, std: float = 0.02) -> None:
    """ConvNeXt's start (official code): weights of convolutions and linear layers normal, biases 0; norms stay at 1 and 0.

    Args:
        module: a backbone or decoder.
        std: standard deviation of the weights; values beyond +-2 are drawn anew.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
