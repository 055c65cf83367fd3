"""A linear classifier that learns beside the run, see `ProbeHook` (`hook.py`).

`features.py` takes pooled features of one or several layers and leaves no trace in the run; `classifiers.py` learns on them.
"""

from . import hook  # noqa: F401
