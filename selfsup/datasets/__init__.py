"""Data sources, pipelines and task datasets. Importing this registers every dataset."""

from .base import ImageDataset
from .byol import BYOLDataset
from .classification import ClassificationDataset
from .contrastive import ContrastiveDataset
from .extract import ExtractDataset

__all__ = ['BYOLDataset', 'ClassificationDataset', 'ContrastiveDataset', 'ExtractDataset', 'ImageDataset']
