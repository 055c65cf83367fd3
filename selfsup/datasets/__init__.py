"""Data sources, pipelines and task datasets. Importing this registers every dataset."""

from .base import ImageDataset
from .byol import BYOLDataset
from .classification import ClassificationDataset
from .contrastive import ContrastiveDataset
from .deep_cluster import DeepClusterDataset
from .detection import DetectionDataset
from .extract import ExtractDataset
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
    'NPIDDataset',
    'RelativeLocDataset',
    'RepeatDataset',
    'RotationPredDataset',
]
