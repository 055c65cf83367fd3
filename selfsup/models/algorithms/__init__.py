"""Algorithms, one file per method. Importing this registers them."""

from .base import Algorithm, Step
from .byol import BYOL
from .classification import Classification
from .deep_cluster import DeepCluster
from .detection import Detection
from .fcmae import FCMAE
from .moco import MOCO
from .npid import NPID
from .odc import ODC
from .relative_loc import RelativeLoc
from .rotation_pred import RotationPred
from .simclr import SimCLR
from .spark import SparK

__all__ = [
    'BYOL',
    'FCMAE',
    'MOCO',
    'NPID',
    'ODC',
    'Algorithm',
    'Classification',
    'DeepCluster',
    'Detection',
    'RelativeLoc',
    'RotationPred',
    'SimCLR',
    'SparK',
    'Step',
]
