"""Algorithms, one file per method. Importing this registers them."""

from .base import Algorithm, Step
from .byol import BYOL
from .classification import Classification
from .moco import MOCO
from .simclr import SimCLR

__all__ = ['BYOL', 'MOCO', 'Algorithm', 'Classification', 'SimCLR', 'Step']
