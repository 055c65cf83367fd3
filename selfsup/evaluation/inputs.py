"""Features and labels as measures take them: whatever holds numbers becomes a tensor, everything else is refused in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError

HALF = (torch.float16, torch.bfloat16)


def as_features(given: Any, what: str) -> Tensor:
    """A floating tensor of at least single precision.

    Args:
        given: tensor, NumPy array (of any byte order, read-only or not) or nested lists of numbers. Half precision and whole numbers
            become float32.
        what: of what, for the message.

    Raises:
        DataError: something else than real numbers.
    """
    found = _as_tensor(given, f'{what} features')
    if found.is_complex():
        raise DataError(f'The {what} features are complex numbers ({found.dtype}); give real ones.')
    return found.float() if found.dtype in HALF or not found.is_floating_point() else found


def as_labels(given: Any, what: str) -> Tensor:
    """An int64 tensor.

    Args:
        given: tensor, NumPy array or lists of whole numbers, of an integer type or not.
        what: of what, for the message.

    Raises:
        DataError: something else, such as 0.5 or a name.
    """
    found = _as_tensor(given, f'{what} labels')
    if found.is_complex() or (found.is_floating_point() and not bool((found == found.round()).all())):
        raise DataError(
            f'The {what} labels are no whole numbers ({found.dtype}); give the number of the class of each image.'
        )
    return found.long()


def _as_tensor(given: Any, what: str) -> Tensor:
    if isinstance(given, Tensor):
        return given.detach()
    try:
        array = np.asarray(given)
    except ValueError:  # lists of several lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in 'biufc':
        raise DataError(
            f'The {what} hold {array.dtype}, given as {type(given).__name__}; expected a tensor or array of numbers.'
        )
    if array.dtype.kind == 'u' and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f'The {what} hold {int(array.max())}, which is no number of a class or a feature.')
    native = array.astype(
        np.int64 if array.dtype.kind == 'u' else array.dtype.newbyteorder('=')
    )  # a copy: never read-only
    return torch.from_numpy(np.ascontiguousarray(native))
