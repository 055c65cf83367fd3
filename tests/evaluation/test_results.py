"""Results as data: what is in a file, what is refused, what stays when it is."""

from __future__ import annotations

import hashlib
import json
import os
import re

import pytest

from selfsup.errors import DataError
from selfsup.evaluation.results.record import FIELDS, check_free, read_result, write_result


@pytest.fixture
def files(tmp_path):
    config, weights = tmp_path / 'c.py', tmp_path / 'w.pth'
    config.write_text('model = 1\n')
    weights.write_bytes(b'weights')
    return config, weights


def test_a_result_says_what_was_measured_on_what(tmp_path, files):
    path = tmp_path / 'deep' / 'knn.json'
    written = write_result(
        path,
        protocol='knn',
        numbers={'knn_20': 41},
        config=files[0],
        weights=files[1],
        seed=3,
        device='cpu',
        seconds=1.234,
        settings={'k': [20], 'temperature': 0.07},
    )
    assert read_result(path) == written == json.loads(path.read_text())
    assert set(written) == {*FIELDS, 'pipeline_backend'} and written['pipeline_backend'] is None
    assert written['numbers'] == {'knn_20': 41.0} and written['seed'] == 3 and written['seconds'] == 1.23
    assert written['config'] == {'path': files[0].as_posix(), 'sha256': hashlib.sha256(b'model = 1\n').hexdigest()}
    assert written['weights']['sha256'] == hashlib.sha256(b'weights').hexdigest()
    assert written['versions']['torch'] and re.match(r'\d{4}-\d\d-\d\dT', written['date'])
    assert re.fullmatch(r'unknown|[0-9a-f]{40}(\+changes)?', written['git'])
    assert [p.name for p in path.parent.iterdir()] == ['knn.json']


def test_files_of_the_project_are_named_from_its_folder(tmp_path):
    written = write_result(tmp_path / 'r.json', protocol='knn', numbers={'a': 1}, config=__file__)
    assert written['config']['path'] == 'tests/evaluation/test_results.py'


def test_configs_that_differ_in_their_bases_or_options_have_other_digests(tmp_path, files):
    def digest(**merged):
        return write_result(
            tmp_path / 'r.json', protocol='knn', numbers={'a': 1}, config=files[0], merged=merged, force=True
        )['config']

    first = digest(model={'depth': 18, 'out': (3,)}, seed=0, work_dir='a')
    assert digest(work_dir='b', seed=1, model={'out': [3], 'depth': 18}) == first
    assert digest(model={'depth': 50, 'out': (3,)}) != first


def test_random_weights_are_no_file(tmp_path):
    assert write_result(tmp_path / 'r.json', protocol='knn', numbers={'a': 1}, weights='random')['weights'] is None


def test_an_existing_result_stays_without_force(tmp_path):
    path = tmp_path / 'r.json'
    write_result(path, protocol='knn', numbers={'a': 1})
    before = path.read_text()
    for refused in (lambda: write_result(path, protocol='knn', numbers={'a': 2}), lambda: check_free(path)):
        with pytest.raises(DataError, match=r'r\.json exists; give --force'):
            refused()
    assert path.read_text() == before
    write_result(path, protocol='knn', numbers={'a': 2}, force=True)
    assert read_result(path)['numbers'] == {'a': 2.0}


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'numbers': {}}, 'at least one number'),
        ({'numbers': {'a': float('nan')}}, "'a' is nan"),
        ({'numbers': {'a': 'high'}}, "'a' is 'high'"),
        ({'numbers': {'a': 1}, 'protocol': ''}, 'needs a protocol'),
        ({'numbers': {'a': 1}, 'config': 'no/such.py'}, r'no/such\.py is not a file'),
        ({'numbers': {'a': 1}, 'settings': {'x': object()}}, 'settings must be numbers'),
    ],
)
def test_what_cannot_be_a_result_is_refused_and_nothing_is_written(tmp_path, given, message):
    with pytest.raises(DataError, match=message):
        write_result(tmp_path / 'r.json', **{'protocol': 'knn', **given})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(DataError, match='could not be written'):
        write_result(tmp_path / 'file' / 'r.json', protocol='knn', numbers={'a': 1})


@pytest.mark.parametrize('folder', ['', 'new/deep'])
def test_a_folder_without_permission_is_told_before_the_work(tmp_path, monkeypatch, folder):
    assert check_free(tmp_path / folder / 'r.json')
    monkeypatch.setattr(os, 'access', lambda path, mode: path != tmp_path)
    with pytest.raises(
        DataError, match=rf'could not be written: {tmp_path} is no folder to write in. Choose another --work_dir'
    ):
        check_free(tmp_path / folder / 'r.json')


@pytest.mark.parametrize(
    ('text', 'message'), [('{', 'cannot be read'), ('{"protocol": 1}', 'lacks numbers'), ('[]', 'lacks protocol')]
)
def test_other_files_are_not_taken_for_results(tmp_path, text, message):
    (tmp_path / 'r.json').write_text(text)
    with pytest.raises(DataError, match=message):
        read_result(tmp_path / 'r.json')
