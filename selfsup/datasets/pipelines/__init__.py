"""Image transforms by name. Importing this registers torchvision's, timm's policies and ours."""

from .compose import Compose, Steps, build_pipeline, build_steps, build_view_pipeline
from .normalization import check_statistics
from .timm_steps import TIMMAutoAugment
from .torchvision_steps import make_step
from .transforms import GaussianBlur, Lighting, RandomAppliedTrans, Solarization, ToTensor, to_uint8

__all__ = [
    'Compose',
    'GaussianBlur',
    'Lighting',
    'RandomAppliedTrans',
    'Solarization',
    'Steps',
    'TIMMAutoAugment',
    'ToTensor',
    'build_pipeline',
    'build_steps',
    'build_view_pipeline',
    'check_statistics',
    'make_step',
    'to_uint8',
]
