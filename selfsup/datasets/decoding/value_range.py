"""Values of images that are not 8-bit RGB: which types are kept, what is far from its range, and how they come into [0, 1]."""

from __future__ import annotations

import numpy as np

ValueRange = tuple[float, float]
KEPT = (np.uint8, np.uint16, np.float32)
TOP = 65535
EXACT = 2**24  # whole numbers up to it are exact in float32
FAR = 4  # a largest value below a fourth of the range is remarked on: two bits are not used


def as_kept_type(values: np.ndarray, value_range: ValueRange | None) -> np.ndarray:
    """The array as uint8, uint16 or float32, with the same values (float64: rounded to the 24 bits of float32).

    Args:
        values: bools, or whole numbers or floats of any size.
        value_range: stated by the user; without one there are no floats.

    Raises:
        ValueError: values would be lost, are not finite, or are floats or negative numbers without a stated range.
    """
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(values.dtype, np.integer) and not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f'its values are {values.dtype}; save it as whole numbers or floats')
    if values.dtype in (np.uint8, np.uint16):
        return values
    if not values.size:
        raise ValueError('it has no pixels')
    low, high = values.min(), values.max()
    if np.issubdtype(values.dtype, np.integer):
        if value_range is None:
            if low < 0 or high > TOP:
                raise ValueError(
                    f'its values of type {values.dtype} go from {low} to {high}, which does not fit into 16 bits: state '
                    'value_range=(lowest, highest) of the data source'
                )
            return values.astype(np.uint16)
        if max(abs(int(low)), abs(int(high))) > EXACT:
            raise ValueError(
                f'its values of type {values.dtype} go from {low} to {high}: float32 holds whole numbers up to {EXACT} only'
            )
        return values.astype(np.float32)
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError('it has values that are infinite or not a number (NaN)')
    if value_range is None:
        raise ValueError(
            f'its values are floats from {low:.6g} to {high:.6g}: state value_range=(lowest, highest) of the data source'
        )
    if max(abs(low), abs(high)) > np.finfo(np.float32).max:
        raise ValueError(f'its values of type {values.dtype} go from {low:.6g} to {high:.6g}, too large for float32')
    return values.astype(np.float32, copy=False)


def range_of(values: np.ndarray, value_range: ValueRange | None) -> ValueRange:
    """The stated range, or that of the type of the values.

    Raises:
        ValueError: floats without a stated range.
    """
    if value_range is not None:
        return value_range
    if not np.issubdtype(values.dtype, np.integer):
        raise ValueError('its values are floats: state value_range=(lowest, highest) of the data source')
    return 0.0, float(np.iinfo(values.dtype).max)


def in_unit_range(values: np.ndarray, value_range: ValueRange | None) -> np.ndarray:
    """uint8 as it is, unless another range than its own is stated; others as float32 in [0, 1], cut off at the ends of the range.

    Raises:
        ValueError: floats without a stated range.
    """
    if values.dtype == np.uint8 and value_range in (None, (0, 255)):
        return values
    low, high = range_of(values, value_range)
    scaled = values.astype(np.float32)
    scaled -= np.float32(low)
    scaled /= np.float32(high - low)
    return np.clip(scaled, 0, 1, out=scaled)


def remark(values: np.ndarray, value_range: ValueRange | None, name: str) -> str:
    """A sentence about values that do not fill their range, or leave it; '' for others and for 8 bits without a stated range."""
    if not values.size or (values.dtype == np.uint8 and value_range is None):
        return ''
    low, high = range_of(values, value_range)
    smallest, largest = values.min(), values.max()
    where = f'{name}: its values go from {smallest:.6g} to {largest:.6g}, of a range from {low:.6g} to {high:.6g}'
    if smallest < low or largest > high:
        return f'{where}: what lies outside is cut off. If that is not meant, state a value_range=(lowest, highest) that holds all.'
    if largest - low < (high - low) / FAR:
        top = 2 ** int(np.ceil(np.log2(float(largest) + 1))) - 1 if low == 0 and largest >= 1 else largest
        return (
            f'{where}: such images come out nearly black. Where all are so, state what the camera fills, value_range=({low:g}, {top:g}), '
            'in the data source.'
        )
    return ''
