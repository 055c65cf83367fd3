"""Where images come from. Importing this registers every data source."""

from .base import DataSource
from .cifar import Cifar10, Cifar100
from .coco import COCO
from .digits import Digits
from .image_folder import ImageFolder
from .image_list import ImageList, ImageNet, Places205
from .voc import VOCDetection

__all__ = [
    'COCO',
    'Cifar10',
    'Cifar100',
    'DataSource',
    'Digits',
    'ImageFolder',
    'ImageList',
    'ImageNet',
    'Places205',
    'VOCDetection',
]
