"""Effective receptive fields: networks whose field is known, a slow count of areas, and what cannot be measured."""

import numpy as np
import pytest
import torch
from torch import nn

from selfsup.errors import ConfigError, DataError, ShapeError
from selfsup.evaluation.analysis.receptive_field import Area, areas, contribution, in_logarithms, receptive_field
from selfsup.models.backbones import ResNet, SLaK


def convolutions(*kernels, weight=1.0):
    """Same-size convolutions with constant positive weights: linear, and never negative on positive images."""
    layers = [nn.Conv2d(3, 3, k, padding=k // 2, groups=3, bias=False) for k in kernels]
    for layer in layers:
        nn.init.constant_(layer.weight, weight)
    return nn.Sequential(*layers)


@pytest.mark.parametrize('size', [(32, 32), (33, 33), (24, 40)])
@pytest.mark.parametrize('kernel', [1, 3, 9])
def test_one_convolution_sees_its_kernel(kernel, size):
    field = contribution(convolutions(kernel, weight=2.0), torch.ones(3, *size))
    row, column, half = size[0] // 2, size[1] // 2, kernel // 2
    expected = torch.zeros(size)
    expected[row - half : row + half + 1, column - half : column + half + 1] = 3 * 2.0
    torch.testing.assert_close(field, expected)
    (found,) = areas(field.numpy(), (0.99,))
    assert found == Area(0.99, kernel, pytest.approx(kernel**2 / (size[0] * size[1])))


def test_two_box_convolutions_give_a_pyramid():
    field = contribution(convolutions(3, 3), torch.ones(3, 32, 32))
    line = torch.tensor([1.0, 2, 3, 2, 1])
    torch.testing.assert_close(field[14:19, 14:19], 3 * line[:, None] * line)
    assert field.sum() == 3 * 81


def test_only_positive_contributions_of_positive_outputs_count():
    net = convolutions(3)
    with torch.no_grad():
        net[0].weight[0, 0, 0, 0] = -5
        net[0].weight[2].neg_()  # an output below 0
    field = contribution(net, torch.ones(3, 8, 8))
    expected = torch.zeros(8, 8)
    expected[3:6, 3:6] = 2
    expected[3, 3] = 1  # of channel 1 alone: in channel 0, whose output is 3, this pixel counts against it
    torch.testing.assert_close(field, expected)


def test_stride_moves_the_field_into_the_centre_cell():
    net = nn.Conv2d(3, 2, 4, stride=4, bias=False)
    nn.init.ones_(net.weight)
    field = contribution(lambda x: (net(x),), torch.ones(3, 32, 32))
    assert field[16:20, 16:20].eq(6).all() and field.sum() == 6 * 16


def slow_areas(field, shares):
    """Sums of slices, one square after the other."""
    values = np.log10(field + 1) / np.log10(field + 1).max()
    height, width = values.shape
    found = []
    for share in shares:
        for half in range(max(height, width)):
            box = values[
                max(height // 2 - half, 0) : height // 2 + half + 1, max(width // 2 - half, 0) : width // 2 + half + 1
            ]
            if box.sum() / values.sum() > share:
                found.append(Area(share, min(2 * half + 1, max(height, width)), box.size / values.size))
                break
    return found


@pytest.mark.parametrize('size', [(1, 1), (16, 16), (17, 17), (12, 30), (31, 8)])
def test_areas_equal_a_slow_count(size):
    generator = np.random.default_rng(0)
    for field in (generator.random(size) * 5, generator.random(size) ** 8 * 1000):
        for found, expected in zip(areas(field), slow_areas(field, (0.2, 0.3, 0.5, 0.99)), strict=True):
            assert found == pytest.approx(expected)


def test_a_flat_field_needs_the_whole_image():
    assert [area.side for area in areas(np.ones((64, 64)))] == [29, 37, 47, 64]
    assert areas(np.ones((64, 64)))[-1].ratio == 1


def test_tiny_values_are_not_lost():
    """In single precision 1e-9 + 1 is 1."""
    field = np.full((4, 4), 1e-9, dtype=np.float32)
    field[0, 0] = 5e-10
    values = in_logarithms(field.astype(np.float64))
    assert values.max() == 1 and values[0, 0] == pytest.approx(0.5)


def test_the_mean_and_images_that_are_left_out():
    net = convolutions(3)
    images = [torch.ones(3, 16, 16), torch.full((3, 16, 16), torch.nan), torch.ones(3, 16, 16) * 2]
    field = receptive_field(net, images)
    assert (field.images, field.skipped) == (2, 1)
    assert np.allclose(field.map, contribution(net, images[0]))
    with pytest.raises(DataError, match='None of 1 images gave finite gradients'):
        receptive_field(net, images[1:2])
    with pytest.raises(DataError, match='There are no images'):
        receptive_field(net, [])
    with pytest.raises(DataError, match='Image 2 has 8 x 8 pixels, those before it 16 x 16'):
        receptive_field(net, [images[0], torch.ones(3, 8, 8)])


def test_what_has_no_field():
    image = torch.ones(3, 8, 8)
    with pytest.raises(ShapeError, match='before pooling'):
        contribution(lambda x: x.mean((2, 3)), image)
    with pytest.raises(ConfigError, match='does not depend'):
        contribution(lambda x: x.detach(), image)
    with pytest.raises(DataError, match='No pixel contributes'):
        areas(contribution(convolutions(3, weight=-1.0), image).numpy())
    with pytest.raises(ConfigError, match='between 0 and 1'):
        areas(np.ones((3, 3)), (0.5, 1.0))


def test_larger_kernels_see_further():
    torch.manual_seed(0)
    image, shared = (
        torch.randn(3, 128, 128),
        {'depths': (1, 1, 1, 1), 'dims': (8, 8, 8, 8), 'layer_scale_init_value': 1.0},
    )
    small, large = (
        areas(receptive_field(SLaK(**shared, kernel_size=k).eval().requires_grad_(False), [image]).map)[-1].ratio
        for k in ((3, 3, 3, 3, 3), (31, 29, 27, 13, 5))
    )
    assert large > 1.2 * small
    resnet = ResNet(18, stage_blocks=(1, 1, 1, 1), base_channels=8, out_indices=(4,)).eval()
    assert contribution(resnet, image).shape == (128, 128)
