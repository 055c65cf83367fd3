"""Heads: what an algorithm computed in, a dict with the loss out. No collectives. Importing this registers them."""

from .cls import ClsHead
from .contrastive import ContrastiveHead
from .latent_cls import LatentClsHead
from .latent_predict import LatentPredictHead
from .masked_pixel import MaskedPixelHead
from .multi_cls import MultiClsHead

__all__ = ['ClsHead', 'ContrastiveHead', 'LatentClsHead', 'LatentPredictHead', 'MaskedPixelHead', 'MultiClsHead']
