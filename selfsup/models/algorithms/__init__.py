"""Algorithms, one file per method, beside others of their kind. Importing this registers them.

contrastive/    tells an image from other images
siamese/        draws the views of an image together, without negatives
clustering/     learns from clusters of the images
masked/         predicts what a mask hides
pretext/        solves a task whose labels are made

`base.py` is what all are, `views.py` runs a network over views of several sizes.
"""

from .base import Algorithm, Step
from .classification import Classification
from .clustering.deep_cluster import DeepCluster
from .clustering.odc import ODC
from .contrastive.moco import MOCO
from .contrastive.npid import NPID
from .contrastive.simclr import SimCLR
from .detection import Detection
from .masked.cnn_jepa import CNNJEPA
from .masked.fcmae import FCMAE
from .masked.spark import SparK
from .pretext.relative_loc import RelativeLoc
from .pretext.rotation_pred import RotationPred
from .siamese.byol import BYOL

__all__ = [
    'BYOL',
    'CNNJEPA',
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
