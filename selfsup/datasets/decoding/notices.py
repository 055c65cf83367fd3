"""What was said about the images of a source, whichever process said it."""

from __future__ import annotations

from typing import Literal

import torch

Kind = Literal['exif', 'range']
KINDS: tuple[Kind, ...] = ('exif', 'range')


class Notices:
    """Remarks of which each kind is made once, in shared memory: the workers of a loader remember together."""

    def __init__(self) -> None:
        self._said = torch.zeros(len(KINDS), dtype=torch.uint8).share_memory_()

    def open(self, kind: Kind) -> bool:
        """True as long as nothing of this kind was said."""
        return not self._said[KINDS.index(kind)]

    def close(self, kind: Kind) -> None:
        """It was said."""
        self._said[KINDS.index(kind)] = 1
