"""Features and labels as measures take them: whatever holds numbers becomes a tensor, everything else is refused in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError

Numbers = Any  # tensor, array or nested lists of numbers: what `as_features` and `as_labels` make a tensor of
HALF = (torch.float16, torch.bfloat16)


def as_features(numbers: Numbers, what: str) -> Tensor:
    """A floating tensor of at least single precision.

    Args:
        numbers: tensor, NumPy array (of any byte order, read-only or not) or nested lists of numbers. Half precision and whole numbers
            become float32.
        what: of what, for the message.

    Raises:
        DataError: something else than real numbers.
    """
    tensor = _as_tensor(numbers, f'{what} features')
    if tensor.is_complex():
        raise DataError(f'The {what} features are complex numbers ({tensor.dtype}); give real ones.')
    return tensor.float() if tensor.dtype in HALF or not tensor.is_floating_point() else tensor


def as_labels(numbers: Numbers, what: str) -> Tensor:
    """An int64 tensor.

    Args:
        numbers: tensor, NumPy array or lists of whole numbers, of an integer type or not.
        what: of what, for the message.

    Raises:
        DataError: something else, such as 0.5 or a name.
    """
    tensor = _as_tensor(numbers, f'{what} labels')
    if tensor.is_complex() or (tensor.is_floating_point() and not bool((tensor == tensor.round()).all())):
        raise DataError(
            f'The {what} labels are no whole numbers ({tensor.dtype}); give the number of the class of each image.'
        )
    return tensor.long()


def _as_tensor(numbers: Numbers, what: str) -> Tensor:
    if isinstance(numbers, Tensor):
        return numbers.detach()
    try:
        array = np.asarray(numbers)
    except ValueError:  # lists of several lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in 'biufc':
        raise DataError(
            f'The {what} hold {array.dtype}, given as {type(numbers).__name__}; expected a tensor or array of numbers.'
        )
    if array.dtype.kind == 'u' and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f'The {what} hold {int(array.max())}, which is no number of a class or a feature.')
    # A copy: never read-only.
    native = array.astype(np.int64 if array.dtype.kind == 'u' else array.dtype.newbyteorder('='))
    return torch.from_numpy(np.ascontiguousarray(native))
