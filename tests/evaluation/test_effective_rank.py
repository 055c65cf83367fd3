"""RankMe and LiDAR against slow references, and at their known ends."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from selfsup.errors import ShapeError
from selfsup.evaluation.effective_rank import MOST, lidar, rankme, rankme_of_some


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_rankme(embeddings):
    """The paper's equation, by singular values and a loop."""
    singular = np.linalg.svd(embeddings.numpy(), compute_uv=False)
    shares = singular / singular.sum() + 1e-7
    return math.exp(-sum(p * math.log(p) for p in shares))


def slow_lidar(embeddings, delta=1e-4):
    """The paper's definition, by loops over images and views and the root of a matrix."""
    images, views, width = embeddings.shape
    x = embeddings.numpy()
    means = [x[i].mean(0) for i in range(images)]
    mean = sum(means) / images
    between, within = np.zeros((width, width)), np.zeros((width, width))
    for i in range(images):
        between += np.outer(means[i] - mean, means[i] - mean) / images
        for j in range(views):
            within += np.outer(x[i, j] - means[i], x[i, j] - means[i]) / (images * views)
    root = np.linalg.inv(scipy.linalg.sqrtm(within + delta * np.eye(width)).real)
    values = np.linalg.eigvalsh(root @ between @ root).clip(min=0)
    shares = values / values.sum() + 1e-7
    return math.exp(-sum(p * math.log(p) for p in shares))


@pytest.mark.parametrize('shape', [(50, 7), (7, 50), (20, 20), (1, 5)])
def test_rankme_is_the_paper_s(shape):
    x = gaussian(*shape) * torch.logspace(0, -6, shape[1], dtype=torch.float64) + 3
    assert rankme(x) == pytest.approx(slow_rankme(x), rel=1e-6)
    assert rankme(x * 1e20) == pytest.approx(rankme(x), rel=1e-6)


def test_rankme_ends():
    assert rankme(torch.eye(6)) == pytest.approx(6, rel=1e-5)
    assert rankme(gaussian(1, 8).expand(40, 8)) == pytest.approx(
        1, abs=1e-4
    )  # all are the same, and none is 0: not centred
    assert rankme(torch.zeros(3, 4)) == 1
    assert math.isnan(rankme(torch.tensor([[1.0, math.inf], [1, 2]])))
    assert rankme(gaussian(60, 5).half()) == pytest.approx(rankme(gaussian(60, 5)), rel=1e-2)


@pytest.mark.parametrize('shape', [(30, 4, 6), (5, 3, 12)])
def test_lidar_is_the_paper_s(shape):
    images, _, width = shape
    x = (
        gaussian(images, 1, width) * torch.linspace(2, 0.1, width)
        + gaussian(*shape, seed=1) @ gaussian(width, width, seed=2) / 5
    )
    assert lidar(x) == pytest.approx(slow_lidar(x), rel=1e-5)
    assert lidar(x + 10) == pytest.approx(lidar(x), rel=1e-6)  # centred


def test_lidar_ends():
    """What views differ in is measured away: a dimension of noise does not count, however large it is."""
    between = torch.zeros(400, 1, 8, dtype=torch.float64)
    between[..., :3] = gaussian(400, 1, 3)
    views = gaussian(400, 5, 8, seed=1) * 0.01
    views[..., 5] += 1000 * gaussian(400, 5, seed=2)
    assert lidar(between + views) == pytest.approx(3, rel=0.02)
    assert math.isnan(lidar(torch.full((3, 2, 2), math.nan)))
    assert lidar(torch.ones(3, 2, 2)) == 1


@pytest.mark.parametrize(
    ('measure', 'shape'), [(rankme, (3,)), (rankme, (0, 4)), (lidar, (4, 5)), (lidar, (1, 5, 2)), (lidar, (5, 1, 2))]
)
def test_other_shapes_are_refused(measure, shape):
    with pytest.raises(ShapeError, match='Embeddings of shape'):
        measure(torch.ones(shape))


def test_of_many_images_some_are_taken_and_the_name_says_how_many():
    few = gaussian(40, 3)
    assert rankme_of_some(few) == {'rankme_n40': rankme(few)}
    assert list(rankme_of_some(torch.ones(MOST + 5, 1))) == [f'rankme_n{MOST}']
