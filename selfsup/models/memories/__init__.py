"""Memory banks: one entry per image of the training set. Importing this registers them."""

from .odc import ODCMemory
from .simple import SimpleMemory

__all__ = ['ODCMemory', 'SimpleMemory']
