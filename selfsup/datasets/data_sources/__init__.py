"""Where images come from. Importing this registers every data source."""

from .base import DataSource
from .cifar import Cifar10, Cifar100
from .digits import Digits
from .image_folder import ImageFolder
from .image_list import ImageList, ImageNet, Places205

__all__ = ['Cifar10', 'Cifar100', 'DataSource', 'Digits', 'ImageFolder', 'ImageList', 'ImageNet', 'Places205']
