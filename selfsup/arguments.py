"""What an argument may be, declared once, in the signature of who takes it.

Ranges use the vocabulary of `annotated-types` (`Ge`, `Gt`, `Le`, `Lt`, `Interval`, `Len`, `MultipleOf`); this file adds what a config needs
beside them. Kinds are the type hints themselves: `int` is a whole number (True is none), `float` any finite number, `Literal[...]` a choice,
`Sequence[...]`, `list[...]` and `tuple[...]` a list or tuple whose members are checked too, `X | None` may be absent.

    def __init__(
        self,
        backbone: Annotated[dict | nn.Module, Part(BACKBONES)],
        momentum: Annotated[float, Interval(ge=0, le=1)] = 0.999,
        queue_len: Annotated[int, Ge(1)] = 65536,
        pipeline: Sequence[Annotated[dict, Part(PIPELINES)]] = (),
        norm_cfg: Annotated[dict | None, Layer(NORMS)] = None,
        backbone_name: Annotated[str, Choice(CHANNELS)] = 'resnet50',
    ) -> None: ...
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .registry import Registry


@dataclass(frozen=True)
class Part:
    """The argument is `dict(type=..., arguments)` of a class in `registry`, or such an object built already."""

    registry: Registry


@dataclass(frozen=True)
class Choice:
    """The argument is one of `options`; for options that stand in a table and not in a `Literal`."""

    options: Iterable[str]


@dataclass(frozen=True)
class Layer:
    """The argument is `dict(type=..., arguments)` of a layer; `names` are the types it may have."""

    names: Iterable[str]
