"""Backbones: images (B, C, H, W) in, a tuple of feature maps out. Importing this registers them."""

from .resnet import ResNet
from .resnext import ResNeXt
from .timm_backbone import TIMMBackbone

__all__ = ['ResNeXt', 'ResNet', 'TIMMBackbone']
