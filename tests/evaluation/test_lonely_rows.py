"""Heads on cached features: a batch of one image is refused before the first epoch where a batch norm could not use it."""

import pytest

from selfsup.errors import ConfigError
from selfsup.evaluation.linear.cached import CachedHeads
from selfsup.registry import HEADS

COMPILED = {'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.1}}, 'param_scheduler': []}


def build(images, batch, norm=True, **kwargs):
    norm_cfg = {'type': 'BN1d', 'affine': False} if norm else None
    head = HEADS.build(
        {'type': 'ClsHead', 'in_channels': 4, 'num_classes': 2, 'with_avg_pool': True, 'norm_cfg': norm_cfg}
    )
    return CachedHeads(head, [0.1], COMPILED, range(images), batch_size=batch, epochs=1, **kwargs)


@pytest.mark.parametrize(('images', 'batch'), [(33, 16), (33, 32), (8, 1)])
def test_a_batch_norm_over_images_needs_two(images, batch):
    with pytest.raises(
        ConfigError,
        match=rf'A batch would hold one image \({images} in batches of {batch}\).*choose another --batch-size',
    ):
        build(images, batch)
    build(images, batch, norm=False)


@pytest.mark.parametrize(('images', 'batch', 'kwargs'), [(34, 16, {}), (32, 16, {}), (33, 16, {'drop_last': True})])
def test_other_batches_are_fine(images, batch, kwargs):
    build(images, batch, **kwargs)
