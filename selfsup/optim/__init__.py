"""Optimizers, groups of parameters and schedules: what moves the weights, given gradients.

Start with `paramwise.py` (which parameters get which settings) and `schedules.py` (the rate at an iteration, by formula). What a config
may say about either stands in `options.py` and `schedules.Schedule`. A new optimizer is a file beside `lars.py`, named in
`registry.OPTIMIZERS`; one that scales the steps of SGD with momentum tensor by tensor derives from `layerwise.LayerWise`.
"""
