"""Sparse training: `hook.py` calls the masks of `selfsup/optim/sparsity.py` at the right moments, start there.

`first_masks.py` chooses which weights may be masked and which are active at first; `table.py` is the summary in the log. A new
way to choose the first masks is a function in `first_masks.py`, a new growth one in `selfsup/optim/sparsity.py`.
"""

from . import hook  # noqa: F401
