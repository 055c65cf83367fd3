"""Images, and what a method sees of them. Importing this registers every dataset.

A dataset (one file per task, on `base.py`) reads images from a data source (`data_sources/`), runs them through its pipelines
(`pipelines/`) and gives the sample dict of its task; `wrappers.py` joins and repeats datasets. `loaders/` makes batches on the device of
them, and holds all randomness of the data. `robust.py` deals with files that cannot be read, `digest.py` says which images a dataset
holds, `subset.py` chooses a part of them.

Start with `base.py` and `contrastive.py`. To add a task: a file beside `contrastive.py`, registered in `DATASETS` and imported below.
"""

from .base import ImageDataset
from .classification import ClassificationDataset
from .contrastive import BYOLDataset, ContrastiveDataset
from .deep_cluster import DeepClusterDataset
from .detection import DetectionDataset
from .extract import ExtractDataset
from .multi_view import MultiViewDataset
from .npid import NPIDDataset
from .relative_loc import RelativeLocDataset
from .rotation_pred import RotationPredDataset
from .wrappers import ConcatDataset, RepeatDataset

__all__ = [
    'BYOLDataset',
    'ClassificationDataset',
    'ConcatDataset',
    'ContrastiveDataset',
    'DeepClusterDataset',
    'DetectionDataset',
    'ExtractDataset',
    'ImageDataset',
    'MultiViewDataset',
    'NPIDDataset',
    'RelativeLocDataset',
    'RepeatDataset',
    'RotationPredDataset',
]
