"""One pass of the backbone per size of views, and what methods of two views say to views of several sizes."""

import pytest
import torch
from torch import nn

from selfsup.errors import ShapeError
from selfsup.models.algorithms.base import Algorithm
from selfsup.models.algorithms.views import once_per_size, pooled_views, view_major
from selfsup.registry import BACKBONES

from .tiny_models import TINY_RESNET, tiny_batch, tiny_model

GROUPS = [torch.rand(4, 2, 3, 32, 32), torch.rand(4, 5, 3, 16, 16)]


class Views(Algorithm):
    """Reads groups of views."""

    backbone = nn.Identity()

    def loss(self, img):
        raise NotImplementedError


def test_rows_are_view_major():
    group = torch.arange(6).view(3, 2, 1, 1, 1).float()  # image b, view v: 2 b + v
    assert view_major(group).flatten().tolist() == [0, 2, 4, 1, 3, 5]


def test_pooled_views_are_those_of_each_view_alone():
    backbone = BACKBONES.build(TINY_RESNET).eval()
    features = pooled_views(backbone, GROUPS)
    assert features.shape[:2] == (7, 4)
    for view, row in enumerate(features):
        alone = GROUPS[0][:, view] if view < 2 else GROUPS[1][:, view - 2]
        torch.testing.assert_close(row, backbone(alone)[-1].mean(dim=(2, 3)))


def test_batch_norms_see_the_views_of_each_size_apart():
    norm = nn.BatchNorm2d(3)
    calls = []

    def network(images):
        calls.append(tuple(images.shape))
        return norm(images)

    maps = once_per_size(network, GROUPS)
    assert calls == [(8, 3, 32, 32), (20, 3, 16, 16)] and int(norm.num_batches_tracked) == 2
    mean, var = torch.zeros(3), torch.ones(3)
    for group, made in zip(GROUPS, maps, strict=True):
        images = view_major(group)
        expected = torch.nn.functional.batch_norm(images, None, None, training=True)
        torch.testing.assert_close(made, expected)
        mean = 0.9 * mean + 0.1 * images.mean(dim=(0, 2, 3))
        var = 0.9 * var + 0.1 * images.var(dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, var)


def test_groups_of_views():
    model = Views()
    assert model.view_groups(GROUPS) == GROUPS and model.view_groups(GROUPS[0])[0] is GROUPS[0]
    for wrong in ([], [GROUPS[0], GROUPS[1][:3]], torch.zeros(4, 3, 8, 8), [torch.zeros(3, 8, 8)] * 4):
        with pytest.raises(ShapeError, match=r'Views needs views of images, .*: use MultiViewDataset'):
            model.view_groups(wrong)


@pytest.mark.parametrize(
    'name',
    [
        'MOCO',
        'SimCLR',
        'BYOL',
        'Classification',
        'RotationPred',
        'RelativeLoc',
        'NPID',
        'DeepCluster',
        'ODC',
        'SparK',
        'CNNJEPA',
    ],
)
def test_methods_of_one_size_say_what_they_take(name):
    model = tiny_model(name, TINY_RESNET, 64)
    batch = {**tiny_batch(model, 4), 'img': GROUPS}
    batch.pop('visible', None)
    with pytest.raises(ShapeError) as caught:
        model(batch)
    message = str(caught.value)
    assert message.startswith(f'{name} needs img of shape (B, ') and 'got a list of 2 tensors' in message
    assert '\n' not in message and ': use ' in message
    with pytest.raises(ShapeError, match=r'needs img of shape \(B, .* got a list of 2 tensors'):
        model({'img': GROUPS}, mode='extract')
