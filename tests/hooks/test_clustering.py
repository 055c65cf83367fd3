"""PCA, k-means and their bad days: blobs found, references matched, nothing empty, errors that name the numbers."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from selfsup.errors import ConfigError, DataError, SelfSupWarning
from selfsup.hooks.deep_cluster.clustering import assign, cluster, fill_empty, kmeans, preprocess


def blobs(number=600, width=32, centres=6, noise=0.1):
    generator = torch.Generator().manual_seed(3)
    where = torch.arange(number) % centres
    return 5 * torch.randn(centres, width, generator=generator)[where] + noise * torch.randn(
        number, width, generator=generator
    ), where


def test_blobs_are_found_by_more_clusters_than_blobs():
    points, where = blobs()
    labels, objective = cluster(points, 24, seed=1, backend='torch')
    assert labels.dtype == torch.int64 and len(torch.unique(labels)) == 24
    assert all(len(torch.unique(where[labels == number])) == 1 for number in range(24))
    assert 0 < objective < 0.01 * len(points)


def test_whitening_is_that_of_sklearn():
    points, _ = blobs(noise=2.0)
    ours = preprocess(points, 8)
    theirs = PCA(8, whiten=True, svd_solver='full').fit_transform(points.double().numpy())
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    assert ours.shape == (600, 8)
    # directions have no sign; what clustering sees are distances
    np.testing.assert_allclose((ours @ ours.T).numpy(), theirs @ theirs.T, atol=2e-3)


def test_fewer_images_than_dimensions():
    points = preprocess(torch.randn(12, 64, generator=torch.Generator().manual_seed(0)), 40)
    assert bool(torch.isfinite(points).all())
    torch.testing.assert_close(points.norm(dim=1), torch.ones(12))
    assert float(points[:, 11:].abs().max()) == 0  # twelve points span eleven directions


def test_the_objective_is_as_good_as_sklearns():
    points = preprocess(torch.randn(2000, 24, generator=torch.Generator().manual_seed(0)))
    ours = [float(assign(points, kmeans(points, 20, seed))[1].sum()) for seed in range(4)]
    theirs = [
        KMeans(20, init='random', n_init=1, max_iter=20, random_state=seed).fit(points.numpy()).inertia_
        for seed in range(4)
    ]
    assert np.mean(ours) < 1.01 * np.mean(theirs)


def test_faiss_gives_clusters_of_the_same_quality():
    pytest.importorskip('faiss')
    points, _ = blobs(2000, noise=5.0)
    ours, theirs = (
        np.mean([cluster(points, 20, 16, seed, backend).objective for seed in range(4)])
        for backend in ('torch', 'faiss')
    )
    assert abs(ours / theirs - 1) < 0.02


@pytest.mark.parametrize('number', [1, 255, 3000])
def test_blocks_do_not_matter(number):
    points, _ = blobs(number, noise=1.0)
    centroids = torch.randn(130, 32, generator=torch.Generator().manual_seed(1))
    labels, distances = assign(points, centroids)
    exact = torch.cdist(points.double(), centroids.double()).square()
    assert torch.equal(labels, exact.argmin(dim=1))
    torch.testing.assert_close(distances.double(), exact.min(dim=1).values, rtol=1e-3, atol=1e-3)


def test_the_seed_decides():
    points, _ = blobs(noise=5.0)
    one, same, other = (cluster(points, 9, 8, seed=seed, backend='torch').labels for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


@pytest.mark.parametrize('backend', ['torch', 'faiss'])
def test_equal_points_fill_all_clusters(backend):
    if backend == 'faiss':
        pytest.importorskip('faiss')
    labels, objective = cluster(torch.ones(20, 4), 7, backend=backend)
    assert torch.bincount(labels, minlength=7).min() >= 1
    assert objective == pytest.approx(0, abs=1e-5)


def test_an_empty_cluster_takes_half_of_the_largest():
    points = torch.tensor([[0.0], [1.0], [2.0], [9.0], [5.0]])
    assert fill_empty(points, torch.tensor([0, 0, 0, 0, 2]), 3).tolist() in ([0, 0, 1, 1, 2], [1, 1, 0, 0, 2])


def test_as_many_clusters_as_images():
    labels, objective = cluster(torch.eye(5), 5, backend='torch')
    assert sorted(labels.tolist()) == list(range(5)) and objective == pytest.approx(0, abs=1e-5)


def test_too_few_images_name_both_numbers():
    with pytest.raises(DataError, match=r'^7 images cannot fill k=10 clusters: lower k'):
        cluster(torch.randn(7, 4), 10)


def test_a_few_nans_are_forgiven_and_many_are_not():
    points, _ = blobs()
    points[3, 4] = float('nan')
    with pytest.warns(SelfSupWarning, match='1 of 19200 numbers'):
        labels, _ = cluster(points, 6, 8, backend='torch')
    assert len(torch.unique(labels)) == 6 and torch.isnan(points[3, 4])
    points[:10] = float('nan')
    with pytest.raises(DataError, match=r'1\.7% of the features are NaN or infinite.*diverged'):
        cluster(points, 6)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(k=0), 'k=0: must be a whole number >= 1'),
        (dict(k=2, pca_dim=33), 'pca_dim=33, but the features have 32 numbers'),
        (dict(k=2, pca_dim=0), 'pca_dim=0'),
        (dict(k=2, backend='fais'), "Did you mean 'faiss'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        cluster(torch.randn(40, 32), **arguments)
