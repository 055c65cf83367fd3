"""Optimizers, parameter groups and schedule formulas. Importing registers `LARS` and `LAMB`."""

from . import lamb, lars  # noqa: F401
