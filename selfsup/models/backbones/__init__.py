"""Backbones: images (B, C, H, W) in, a tuple of feature maps out. Importing this registers them."""

from .convnext import ConvNeXt
from .convnext_v2 import ConvNeXtV2
from .resnet import ResNet
from .resnext import ResNeXt
from .slak import SLaK
from .timm_backbone import TIMMBackbone

__all__ = ['ConvNeXt', 'ConvNeXtV2', 'ResNeXt', 'ResNet', 'SLaK', 'TIMMBackbone']
