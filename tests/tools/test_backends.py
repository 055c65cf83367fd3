"""Protocols and hooks read their images with the backend of the config, and results say which that was."""

from __future__ import annotations

import json

import pytest
import torch

from selfsup.datasets import DetectionDataset
from selfsup.datasets.loaders import build, build_loader
from selfsup.errors import DataError
from selfsup.evaluation.extracted import backend_of
from selfsup.evaluation.results.record import read_result
from tests.engine import detection_runs
from tests.evaluation.linear_runs import write_config
from tests.resume.runs import train

KNN = "custom_hooks.append(dict(type='KNNHook', train=data['train'], test=data['val'], k=(1,)))\n"
FEATURES = """
data = dict(imgs_per_gpu=32, workers_per_gpu=0, extract=dict(
    type='ExtractDataset', data_source=dict(type='ImageFolder', root={root!r}), pipeline=[dict(type='ToTensor')]))
"""


@pytest.fixture
def config(tmp_path):
    return write_config(tmp_path)


@pytest.fixture
def backends(monkeypatch):
    """Backends of the loaders that were built, in order."""
    found = []
    told = build.use_backend

    def noting(dataset, backend):
        found.append(backend)
        told(dataset, backend)

    monkeypatch.setattr(build, 'use_backend', noting)
    return found


@pytest.mark.parametrize('backend', ['fast', 'reference'])
def test_hooks_read_as_the_training_does(tmp_path, config, backends, backend):
    config.write_text(config.read_text() + KNN)
    train(config, tmp_path / 'work', 'total_epochs=1', f'pipeline_backend={backend}', curves=False)
    assert (
        backends == [backend] * 7
    )  # the training images; before and after training those of ValidateHook, and both of KNNHook


@pytest.mark.parametrize('backend', ['fast', 'reference'])
def test_knn_and_cached_features(tmp_path, call, config, backends, backend):
    options = ('--pretrained', 'random', '--work_dir', tmp_path, '--cfg-options', f'pipeline_backend={backend}')
    call('knn', config, '--k', '1', *options)
    call('linear_cached', config, '--lrs', '0.1', '--epochs', '1', *options)
    assert backends and set(backends) == {backend}
    assert {read_result(tmp_path / f'{name}.json')['pipeline_backend'] for name in ('knn', 'linear_cached')} == {
        backend
    }


def test_cached_features_of_another_backend_are_not_taken_for_these(tmp_path, call, config):
    def train_heads(backend):
        options = ('--pretrained', 'random', '--lrs', '0.1', '--epochs', '1', '--cache', tmp_path / 'cache')
        work_dir = ('--work_dir', tmp_path / f'{backend}{len(list(tmp_path.iterdir()))}')
        call('linear_cached', config, *options, *work_dir, '--cfg-options', f'pipeline_backend={backend}')

    train_heads('reference')
    # as a cache of an earlier version, it says nothing of the backend
    assert 'pipeline_backend' not in ''.join(path.read_text() for path in (tmp_path / 'cache').rglob('*.json'))
    train_heads('reference')
    with pytest.raises(DataError, match='pipeline_backend'):
        train_heads('fast')


def test_extracted_features_say_their_backend(tmp_path, call, config, backends):
    data = tmp_path / 'data.py'
    data.write_text(FEATURES.format(root=str(tmp_path / 'test')))

    def extract(backend):
        options = (
            '--pretrained',
            'random',
            '--layer-ind',
            '4',
            '--dataset-config',
            data,
            '--work_dir',
            tmp_path / 'work',
        )
        call('extract', config, *options, '--cfg-options', f'pipeline_backend={backend}')

    array = tmp_path / 'work' / 'features' / 'all_feat1.npy'
    extract('fast')
    assert backends == ['fast'] and backend_of(array) == 'fast'
    with pytest.raises(DataError, match=r'other features .*other pipeline_backend'):
        extract('reference')
    note = array.with_name('extracted.json')
    known = json.loads(note.read_text())
    del known[array.name]['pipeline_backend']
    note.write_text(json.dumps(known))  # as an earlier version wrote it
    assert backend_of(array) == 'reference'
    extract('reference')
    assert backend_of(array) == 'reference' and backend_of(array.with_name('unknown.npy')) is None


def test_detection_stays_with_the_reference(tmp_path):
    from selfsup.config import compile_config, load

    compiled = compile_config(load(str(detection_runs.write_config(tmp_path))))
    section = compiled['train_dataloader']
    assert section['pipeline_backend'] == 'fast'
    batches = []
    for backend in ('fast', 'reference'):
        loader = build_loader({**section, 'pipeline_backend': backend}, seed=0, device=torch.device('cpu'))
        assert isinstance(loader.dataset, DetectionDataset) and loader.dataset.backend == 'reference'
        batches.append(loader.peek())
    assert all(torch.equal(one, other) for one, other in zip(batches[0]['img'], batches[1]['img'], strict=True))
