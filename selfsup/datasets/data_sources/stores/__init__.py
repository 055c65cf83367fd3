"""Images that lie in something larger than a file each: tables, data bases, arrays. Importing this registers their sources.

`base.py` says what they share: a name for each image, a hint of what is stored. Tables: `parquet.py`, `csv_table.py` and `hf.py` (with
`hf_load.py`, what is read, and `hf_stream.py`, one that can only be read forwards), on `columns.py` (which column holds what) and
`labels.py` (class numbers of a column). `lmdb_store.py` (with `lmdb_layouts.py`) reads LMDB, `arrays.py` (with `npz.py`) NumPy's files.
Nothing is held open between two images that a forked or spawned loader worker could not open again.
"""

from .arrays import NumpyArray
from .csv_table import CSV
from .hf import HFDataset
from .lmdb_store import LMDB
from .parquet import Parquet

__all__ = ['CSV', 'LMDB', 'HFDataset', 'NumpyArray', 'Parquet']
