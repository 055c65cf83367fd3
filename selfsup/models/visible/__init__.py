"""Partly visible feature maps: a convnet that is trained to fill in hidden blocks computes only what it sees.

SparK and FCMAE call `encode_visible(backbone, img, visible)`. The backbone runs as it is, same module, same weights, on a `VisibleMap` in
place of the images: not a tensor, but an object that takes part in every torch operation by a rule of its own.

        images (B, C, H, W)            grid `visible` (B, fh, fw)           stored (N, C, z, z), z = H / fh
        +----+----+----+----+               . # . #                         +----+ +----+ +----+ +----+
        |    | ab |    | cd |               # . . .       -- gather -->     | ab | | cd | | ef | | gh |  ...
        +----+----+----+----+               . # # .       <-- scatter --    +----+ +----+ +----+ +----+
        | ef |    |    |    |           (# visible, N in all)               on which layers run; a convolution that looks beyond its
        +----+----+----+----+                                               block fetches a halo of pixels from the blocks around it

Words:
    stored      what a map keeps in memory: its visible blocks (`VisibleMap`), or the whole map (`MaskedMap`, the slow reference).
    positions   its visible pixels as rows (M, C): what statistics are over. Hidden ones are absent, not zeros.
    hide        put zeros at hidden positions, where these are stored: what a neighbour sees of them.
    clean       an operation is clean if hidden positions that were zero are so after it; `hidden_zero` says what a map knows.
    spread      bring a plain tensor of the nominal shape into a form that broadcasts with what is stored.

Start reading in `encode.py`. `grid.py` moves pixels between blocks and whole maps; `axes.py` names the axes; `tensor_face.py`,
`block_map.py`, `visible_map.py` and `masked_map.py` are the maps (`folded_map.py`: of images that have weights of their own);
`kernels/` has the layers that do the arithmetic; `probe.py` tries a backbone before training.

To add a rule for a torch operation, write it into the file of `rules/` that its kind belongs to, with `@rule(...)` (`rule_table.py`), or,
from outside, use `register_rule`. An operation without a rule is an error that names it.
"""

from .encode import encode_visible, register_rule
from .masked_map import MaskedMap
from .probe import check_masked, probe_maps
from .rules import (  # noqa: F401  (importing them fills the table of rules)
    channels,
    convolutions,
    norms,
    pointwise,
    scales,
    shapes,
    statistics,
)
from .visible_map import VisibleMap

__all__ = ['MaskedMap', 'VisibleMap', 'check_masked', 'encode_visible', 'probe_maps', 'register_rule']
