"""Whatever GDAL reads from one file, where rasterio is installed: for files that nothing else reads."""

from __future__ import annotations

import importlib.util

import numpy as np


def has_rasterio() -> bool:
    """True where rasterio is installed."""
    return importlib.util.find_spec('rasterio') is not None


def read_raster(data: bytes) -> np.ndarray:
    """All bands (C, H, W), of any type.

    Raises:
        ValueError: GDAL does not read it.
    """
    from rasterio.errors import RasterioError
    from rasterio.io import MemoryFile

    try:
        with MemoryFile(data) as file, file.open() as image:
            return image.read()
    except RasterioError as error:
        raise ValueError(f'rasterio cannot read it: {error}') from None
