"""The joint-embedding methods, CNN-JEPA and distillation against the official codes: value and gradient, one and two processes.

`golden.py` reads tests/golden/methods_*.pt, float64 numbers of the official codes.
"""
