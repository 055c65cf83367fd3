"""What a target is: `Form`, one way in which a backbone leaves, and `Target`, one network in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..network import Network

NEEDS_EXTRA = "needs {}, which is not installed: pip install 'selfsup[convert]'"


@dataclass(frozen=True)
class Target:
    """What a network is to become.

    Attributes:
        tensors: number of tensors in the file.
        write: writes the file.
        run: (file, images (B, C, H, W)) -> name -> what the network in the file makes of them: `last map` (B, D, h, w) or `features`
            (B, D), which is its average over h and w, or both; `logits` (B, K) with a classifier.
        usage: lines of Python (or yaml, for detectron2) that load the file `{path}`.
    """

    tensors: int
    write: Callable[[Path], object]
    run: Callable[[Path, Tensor], dict[str, Tensor]]
    usage: tuple[str, ...]


@dataclass(frozen=True)
class Form:
    """A form in which a backbone leaves. It is called to make a `Target`.

    Attributes:
        make: (network, (height, width) of the images in pixels, whether to give out the maps too) -> target.
        ending: of the file's name; '' for a torch file, which may have any that is no other form's.
        classifier: whether a classifier may come along.
        maps: whether the maps are given out only where they are asked for.
    """

    make: Callable[[Network, tuple[int, int], bool], Target]
    ending: str = ''
    classifier: bool = True
    maps: bool = False

    def __call__(self, network: Network, size: tuple[int, int], maps: bool) -> Target:
        return self.make(network, size, maps)
