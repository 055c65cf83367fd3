"""Where images come from. Importing this registers every data source.

`base.py` says what a source offers, and what those have in common whose images are files. Images by name: `image_list.py` (with
`list_files.py`, how a list is read, and `memcached.py`) and `image_folder.py` (with `folder_tree.py`, what a tree may mean). Images with
boxes: `coco.py` and `voc.py`, on `boxes.py`. Tables, data bases and arrays: `stores/`. Tar shards: `web_dataset.py`, on `shards/`. Small
sets: `cifar.py`, `digits.py`. `missing_files.py` looks for the files of lists; `addresses.py` reads sources that are written as one
    string. To add
one: a registered subclass of `DataSource` with `__len__`, `read_image` and `describe`.
"""

from .base import DataSource
from .cifar import Cifar10, Cifar100
from .coco import COCO
from .digits import Digits
from .image_folder import ImageFolder
from .image_list import ImageList, ImageNet, Places205
from .stores import CSV, LMDB, HFDataset, NumpyArray, Parquet
from .voc import VOCDetection
from .web_dataset import WebDataset

__all__ = [
    'COCO',
    'CSV',
    'LMDB',
    'Cifar10',
    'Cifar100',
    'DataSource',
    'Digits',
    'HFDataset',
    'ImageFolder',
    'ImageList',
    'ImageNet',
    'NumpyArray',
    'Parquet',
    'Places205',
    'VOCDetection',
    'WebDataset',
]
