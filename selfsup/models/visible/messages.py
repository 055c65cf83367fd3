"""What errors about maps say: which operation it was, and in which module of the network."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torch import Tensor, nn

CONVOLUTIONS = (
    'what relates positions to positions, such as attention, has no meaning where some are hidden: masked training needs a '
    'convolutional network'
)
HOW_TO_ADD = (
    'Add one with selfsup.models.visible.register_rule (its docstring shows how) if it '
    'treats all positions alike; for operations over all positions, such as attention, there is none: masked training needs a '
    'convolutional network'
)


def operation_name(function: Callable) -> str:
    """'torch.nn.functional.fold' or 'Tensor.cumsum', for messages."""
    name = getattr(function, '__name__', str(function))
    if getattr(Tensor, name, None) is function:
        return f'Tensor.{name}'
    return f'{getattr(function, "__module__", None) or "torch"}.{name}'


def where() -> str:
    """' in layer4.0.act (ReLU)': the innermost module that is running, named from the outermost one."""
    running = []
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get('self')
        if isinstance(owner, nn.Module) and frame.f_code.co_name != '_call_impl':
            running.append(owner)
        frame = frame.f_back
    return place(running[0], running[-1]) if running else ''


def place(module: nn.Module, within: nn.Module) -> str:
    """' in layer4.0.act (ReLU)'."""
    name = next((name for name, other in within.named_modules() if other is module), '')
    return f' in {name + " " if name else ""}({type(module).__name__})'
