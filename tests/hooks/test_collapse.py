"""The collapse numbers at their known ends, and RankMe and LiDAR in real runs."""

from __future__ import annotations

import json
import math

import pytest
import torch

from selfsup.datasets.loaders import SeededDataset
from selfsup.datasets.wrappers import build_dataset
from selfsup.errors import SelfSupError, ShapeError
from selfsup.evaluation.effective_rank import rankme
from selfsup.hooks.collapse_hook import _Window, collapse_statistics
from selfsup.hooks.lidar import SeveralViews
from tests.resume.runs import differences, train, write_config


def _gaussian(b, d, seed=0):
    return torch.randn(b, d, generator=torch.Generator().manual_seed(seed))


def test_isotropic():
    found = collapse_statistics(_gaussian(2000, 16))
    assert found['std'] == pytest.approx(1, abs=0.01) and found['effective_rank'] == pytest.approx(16, abs=0.1)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('scale', [1e-3, 1.0, 1e3])
def test_collapsed_to_a_point(dtype, scale):
    found = collapse_statistics((_gaussian(1, 32) * scale).to(dtype).expand(64, 32))
    assert found['std'] < 1e-5 and found['effective_rank'] == pytest.approx(1)


def test_all_zero():
    assert collapse_statistics(torch.zeros(4, 3)) == {'std': 0.0, 'effective_rank': 1.0}


@pytest.mark.parametrize('rank', [1, 3, 8])
def test_dimensional_collapse(rank):
    basis = torch.linalg.qr(_gaussian(32, rank, 1))[0]
    found = collapse_statistics(_gaussian(4000, rank) @ basis.T + 5 * _gaussian(1, 32, 2))  # the offset does not count
    assert found['effective_rank'] == pytest.approx(rank, rel=0.02)


def test_by_hand():
    found = collapse_statistics(torch.tensor([[3.0, 0], [-3.0, 0], [0, 1], [0, -1]]))
    p, q = 3 / 4, 1 / 4  # singular values 3 sqrt(2), sqrt(2)
    assert found['effective_rank'] == pytest.approx(math.exp(-p * math.log(p) - q * math.log(q)))
    assert found['std'] == pytest.approx(math.sqrt(0.5) * math.sqrt(2))


def test_under_autocast_and_with_gradient():
    x = _gaussian(64, 16).requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert collapse_statistics(x) == collapse_statistics(x.detach())


def test_not_finite_and_bad_shapes():
    bad = _gaussian(4, 3)
    bad[1, 1] = math.inf
    assert all(math.isnan(v) for v in collapse_statistics(bad).values())
    for shape in ((1, 8), (4,), (2, 3, 4)):
        with pytest.raises(ShapeError, match='B >= 2'):
            collapse_statistics(torch.ones(shape))


# ---- RankMe and LiDAR in a run ----

VIEWS = [dict(type='RandomResizedCrop', size=8, scale=(0.3, 1.0)), dict(type='ToTensor')]
SHAKEN = dict(type='ExtractDataset', data_source=dict(type='Digits'), pipeline=VIEWS)
LABELLED = dict(type='ClassificationDataset', data_source=dict(type='Digits'), pipeline=VIEWS[1:])


def measured(work_dir):
    lines = [json.loads(x) for f in work_dir.glob('*/vis_data/2*.json') for x in f.read_text().splitlines()]
    return {name: [x[name] for x in lines if name in x] for name in {name for x in lines for name in x}}


def collapse(**options):
    return f"default_hooks={{'collapse': {options}}}"


def test_rankme_is_logged_with_its_number_of_images(tmp_path):
    """Batches of 4: windows of 10 are full every third step."""
    config = write_config(tmp_path)
    found = measured(
        train(config, tmp_path / 'run', collapse(rankme={'images': 10}), 'log_config.interval=1', 'total_epochs=1')
    )
    values = found['embedding_rankme_n10']
    assert len(values) == 4 and all(1 < value < 8 for value in values) and len(set(values)) == 2
    assert not [name for name in found if name.startswith('lidar')]


def test_a_window_of_rankme_holds_the_embeddings_of_its_steps(monkeypatch):
    window, parts = _Window(10), [_gaussian(4, 6, seed) for seed in range(6)]
    values = [window.add(part) for part in parts]
    assert values[:2] == values[3:5] == [None, None]
    assert values[2] == rankme(torch.cat(parts[:3])[:10]) and values[5] == rankme(torch.cat(parts[3:])[:10])


def test_lidar_and_rankme_of_features_are_measured_and_change_nothing(tmp_path):
    config = write_config(tmp_path)
    lidar_options = {'dataset': SHAKEN, 'images': 12, 'views': 3, 'interval': 2, 'imgs_per_gpu': 16}
    knn = dict(type='KNNHook', train=LABELLED, test=LABELLED, k=1, interval=3, initial=False, rankme=True)
    run = train(config, tmp_path / 'run', collapse(lidar=lidar_options), f'custom_hooks={[knn]}')
    plain = train(config, tmp_path / 'plain', curves=False)
    assert differences(run / 'epoch_3.pth', plain / 'epoch_3.pth') == []
    found = measured(run)
    assert len(found['lidar_n12_q3']) == 2 and all(
        1 < value <= 11.1 for value in found['lidar_n12_q3']
    )  # after 2 and 3 of 3
    assert len(found['rankme_n1438']) == 1 and 1 < found['rankme_n1438'][0] < 32
    meta = torch.load(run / 'epoch_3.pth', weights_only=True)['meta']['measured']
    assert [line.get('lidar_n12_q3') for line in meta if 'lidar_n12_q3' in line] == pytest.approx(found['lidar_n12_q3'])


def test_views_of_an_image_follow_each_other_and_differ():
    views = SeveralViews(build_dataset(SHAKEN, False), 3, 4)
    seeded = SeededDataset(views, 0)
    images = torch.stack([seeded[(0, i, 0)]['img'] for i in range(len(views))]).unflatten(0, (3, 4))
    assert views.chosen == [0, 718, 1437]
    assert 9 <= len({image.sum().item() for image in images.flatten(0, 1)}) <= 12


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'lidar': {'images': 3}}, 'CollapseHook lidar needs a dataset with random views'),
        ({'lidar': {'dataset': SHAKEN, 'images': 5000}}, 'has 1438 images, fewer than images=5000'),
        ({'lidar': {'dataset': {**SHAKEN, 'pipeline': SHAKEN['pipeline'][-1:]}}}, 'draws nothing at random'),
        ({'lidar': {'dataset': SHAKEN, 'images': 1}}, 'images'),
        ({'lidar': {'dataset': SHAKEN, 'view': 1}}, 'view'),
        ({'rankme': {'images': 1}}, 'images'),
    ],
)
def test_what_cannot_be_measured_is_refused_before_training(tmp_path, options, message):
    with pytest.raises(SelfSupError, match=message):
        train(write_config(tmp_path), tmp_path / 'run', collapse(**options), curves=False)
    assert not list(tmp_path.glob('run/*.pth'))
