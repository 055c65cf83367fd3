"""Models: an algorithm per method, and the parts that a config puts together in it.

    algorithms/             one file per method: reads like the paper, loss in, losses out
    backbones/  necks/  heads/  memories/      the parts, built from dicts by the algorithm that owns them
    teachers/               frozen networks that a student learns from
    visible/                maps with hidden blocks, for masked pretraining of any convnet
    large_kernel/           depthwise convolutions with kernels such as 51 x 5
    layers/                 small modules, each usable on its own

A part of one's own is a class with the decorator of its registry (`selfsup/registry.py`), in the package or outside.
"""
