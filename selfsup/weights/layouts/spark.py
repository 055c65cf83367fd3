"""Weights of the official SparK code (arXiv:2301.03580) under our names.

Its training files hold encoder, densifying layers and decoder, with constants and a dict of settings among them. Its other files
hold the bare backbone under timm's (ResNet) or the official (ConvNeXt) names and need no change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

TITLE = 'official SparK, with decoder'
_RENAMED = (
    ('sparse_encoder.sp_cnn.', 'backbone.'),
    ('dense_decoder.dec.', 'decoder.blocks.'),
    ('dense_decoder.', 'decoder.'),
    ('densify_norms.', 'neck.norms.'),
    ('densify_projs.', 'neck.projs.'),
    ('mask_tokens.', 'neck.mask_tokens.'),
)
CONSTANTS = ('imn_m', 'imn_s', 'norm_black')  # mean, deviation and a black image, which the loss does not read


def is_official(names: Iterable[str]) -> bool:
    """True for names of SparK's training model."""
    return any(name.startswith(('sparse_encoder.', 'dense_decoder.', 'densify_')) for name in names)


def our_name(name: str) -> str:
    """Our name of a tensor of the training model: `dense_decoder.dec.0.up_sample.weight` is `decoder.blocks.0.up.weight`."""
    for theirs, ours in _RENAMED:
        if name.startswith(theirs):
            name = ours + name[len(theirs) :]
            break
    return name.replace('.up_sample.', '.up.') if name.startswith('decoder.') else name


def to_ours(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` of the training model under our names, without its constants."""
    return {our_name(name): value for name, value in weights.items() if name not in CONSTANTS}
