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
        write: takes a path and writes the file.
        run: takes the file and images (B, C, H, W) and returns what the network in the file makes of them, by name: `last map`
            (B, D, h, w) or `features` (B, D), which is its average over h and w, or both; `logits` (B, K) with a classifier.
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
        make: takes the network, the (height, width) of the images in pixels and whether to give out the maps too; returns the target.
        ending: what the file's name ends with; '' for a torch file, which may have any ending that is not that of another form.
        classifier: whether a classifier may come along.
        maps: whether the maps are given out only where they are asked for.
    """

    make: Callable[[Network, tuple[int, int], bool], Target]
    ending: str = ''
    classifier: bool = True
    maps: bool = False

    def __call__(self, network: Network, size: tuple[int, int], maps: bool) -> Target:
        return self.make(network, size, maps)
