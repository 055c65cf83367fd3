"""Heads: what an algorithm computed in, a dict with the loss out. No collectives. Importing this registers them."""

from .cls import ClsHead
from .contrastive import ContrastiveHead
from .latent_predict import LatentPredictHead

__all__ = ['ClsHead', 'ContrastiveHead', 'LatentPredictHead']
