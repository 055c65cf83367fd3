"""Weights of a known network, one of them in an impossible shape: one clear error."""

from __future__ import annotations

import random

import pytest
import torch

from selfsup.errors import SelfSupError
from selfsup.registry import BACKBONES
from selfsup.weights.convert import load_network
from selfsup.weights.extract import extract_backbone
from selfsup.weights.write import write_checkpoint_atomic

NETWORKS = {
    'ResNet': {'depth': 18, 'base_channels': 4, 'stem': 'cifar'},
    'ResNeXt': {'depth': 50, 'groups': 4, 'width_per_group': 2, 'base_channels': 8},
    'SLaK': {'depths': (3, 3, 9, 3), 'dims': (8, 8, 8, 8), 'kernel_size': (13, 11, 9, 7, 5)},
}
SHAPES = {
    'a scalar': torch.Tensor.sum,
    'empty': lambda v: v[:0],
    'flat': torch.Tensor.flatten,
    'five axes': lambda v: torch.zeros(1, 1, 1, 1, 1),
    'no columns': lambda v: torch.zeros(3, 0),
}


@pytest.mark.filterwarnings('ignore:Initializing zero-element')
@pytest.mark.parametrize('kind', NETWORKS)
def test_one_tensor_of_another_shape(tmp_path, kind):
    whole, rng = BACKBONES.build({'type': kind, **NETWORKS[kind]}).state_dict(), random.Random(5)
    names = [name for name, value in whole.items() if value.dim() in (2, 4)]
    for name in [*names[:2], *rng.sample(names, 2)]:
        for what, change in SHAPES.items():
            changed = change(whole[name])
            if changed.shape == whole[name].shape:
                continue
            official = {
                f'encoder.{key}.dwconv.kernel' if key == name else key: value for key, value in whole.items()
            } | {f'encoder.{name}.dwconv.kernel': changed}
            path = write_checkpoint_atomic({'state_dict': {**whole, name: changed}}, tmp_path / 'a.pth')
            with pytest.raises(SelfSupError) as error:
                load_network(path)
            assert '\n' not in str(error.value), (name, what)
            extract_backbone(path, tmp_path / 'b.pth', force=True, naming='timm')  # only renames
            with pytest.raises(SelfSupError):
                load_network(write_checkpoint_atomic({'state_dict': official}, tmp_path / 'c.pth'))
