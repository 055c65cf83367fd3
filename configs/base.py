"""The name that older config files inherit from: `_base_ = '../../base.py'`."""

_base_ = '_base_/default_runtime.py'
