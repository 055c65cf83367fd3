"""Algorithms, one file per method, beside others of their kind. Importing this registers them.

contrastive/    tells an image from other images
siamese/        draws the views of an image together, without negatives
clustering/     learns from clusters of the images
masked/         predicts what a mask hides
pretext/        solves a task whose labels are made

`distill.py` learns from frozen networks (`models/teachers`).
`base.py` is what all are, `views.py` runs a network over views of several sizes.
"""

from .base import Algorithm, Step
from .classification import Classification
from .clustering.deep_cluster import DeepCluster
from .clustering.odc import ODC
from .clustering.swav import SwAV
from .contrastive.dense_cl import DenseCL
from .contrastive.moco import MOCO
from .contrastive.moco_v3 import MoCoV3
from .contrastive.nnclr import NNCLR
from .contrastive.npid import NPID
from .contrastive.simclr import SimCLR
from .detection import Detection
from .distill import Distill
from .masked.cnn_jepa import CNNJEPA
from .masked.fcmae import FCMAE
from .masked.spark import SparK
from .pretext.relative_loc import RelativeLoc
from .pretext.rotation_pred import RotationPred
from .siamese.barlow_twins import BarlowTwins
from .siamese.byol import BYOL
from .siamese.dino import DINO
from .siamese.lejepa import LeJEPA
from .siamese.simsiam import SimSiam
from .siamese.vicreg import VICReg

__all__ = [
    'BYOL',
    'CNNJEPA',
    'DINO',
    'FCMAE',
    'MOCO',
    'NNCLR',
    'NPID',
    'ODC',
    'Algorithm',
    'BarlowTwins',
    'Classification',
    'DeepCluster',
    'DenseCL',
    'Detection',
    'Distill',
    'LeJEPA',
    'MoCoV3',
    'RelativeLoc',
    'RotationPred',
    'SimCLR',
    'SimSiam',
    'SparK',
    'Step',
    'SwAV',
    'VICReg',
]
