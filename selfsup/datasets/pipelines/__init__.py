"""Steps from an image to a tensor, by name. Importing this registers torchvision's transforms, timm's policies and ours.

`compose.py` builds a list of steps and checks what it ends in; `torchvision_steps.py` registers torchvision's, `timm_steps.py` timm's
policies, `transforms.py` what both lack; `normalization.py` holds mean and std against the range of the images. To add a step: a
registered class in `transforms.py` that takes and gives an image or tensor, and draws from the global generators alone.
"""

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
