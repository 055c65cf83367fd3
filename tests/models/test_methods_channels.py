"""Every method on images of 1, 4 and 13 channels; images of other channels than the backbone takes are refused before training."""

import math

import pytest
import torch

from selfsup.contracts import Progress
from selfsup.errors import ShapeError
from selfsup.registry import MODELS
from tests.models.tiny_models import CLUSTERS, IMAGES, TINY_RESNET, tiny_model

BATCHES = {  # of images with so many channels
    **dict.fromkeys(
        ('BYOL', 'DenseCL', 'MOCO', 'MoCoV3', 'NNCLR', 'SimCLR'), lambda c: {'img': torch.randn(4, 2, c, 32, 32)}
    ),
    'Classification': lambda c: {'img': torch.randn(4, c, 32, 32), 'gt_label': torch.arange(4) % 5},
    'RotationPred': lambda c: {'img': torch.randn(4, 4, c, 32, 32), 'rot_label': torch.arange(4).expand(4, 4)},
    'RelativeLoc': lambda c: {'img': torch.randn(2, 8, 2 * c, 32, 32), 'patch_label': torch.arange(8).expand(2, 8)},
    'NPID': lambda c: {'img': torch.randn(4, c, 32, 32), 'idx': torch.arange(4)},
    **dict.fromkeys(
        ('DeepCluster', 'ODC'),
        lambda c: {
            'img': torch.randn(4, c, 32, 32),
            'pseudo_label': torch.arange(4) % CLUSTERS,
            'idx': torch.arange(4) % IMAGES,
        },
    ),
    **dict.fromkeys(('SparK', 'FCMAE'), lambda c: {'img': torch.randn(4, c, 64, 64)}),
}
EDGES = ('DeepCluster', 'ODC', 'Classification')  # may see the edges of images


@pytest.mark.parametrize('channels', [1, 4, 13])
@pytest.mark.parametrize(('method', 'sobel'), [*((name, False) for name in BATCHES), *((name, True) for name in EDGES)])
def test_a_step_and_features(method, sobel, channels):
    torch.manual_seed(0)
    backbone = {**TINY_RESNET, 'in_channels': 2 if sobel else channels}
    model = tiny_model(method, backbone, 64, **({'with_sobel': True} if sobel else {}))
    model.check_channels(channels)
    model.check_channels(None)
    if not sobel:
        with pytest.raises(
            ShapeError, match=r'training images have 7 channels, but the backbone takes .*in_channels=7, or let'
        ):
            model.check_channels(7)
    batch = BATCHES[method](channels)
    step = model(batch)
    step.total.backward()
    assert math.isfinite(step.total.item()) and model.backbone.conv1.weight.grad.abs().max() > 0
    model.after_update([step.carry], Progress(5, 10, 5))
    features = model.eval().features(torch.randn(3, channels, 32, 32))
    assert features.shape == (3, 64) and features.std() > 0


def test_networks_that_do_not_say_what_they_take_are_not_judged():
    own = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.AdaptiveAvgPool2d(1))
    head = {'type': 'ClsHead', 'with_avg_pool': True, 'in_channels': 4, 'num_classes': 2}
    MODELS.build({'type': 'Classification', 'backbone': own, 'head': head}).check_channels(
        3
    )  # it may make grey of them
