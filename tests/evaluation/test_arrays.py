"""Arrays on the disk: damaged ones are one clear error, and features say what they are of."""

from __future__ import annotations

import json
import random
import warnings

import numpy as np
import pytest
import torch

from selfsup.errors import CheckpointError, DataError
from selfsup.evaluation import extracted
from selfsup.evaluation.arrays import read_array
from selfsup.evaluation.linear.feature_cache import FeatureCache


class Images:
    root = '/data/rgb'

    def __len__(self) -> int:
        return 3

    def describe(self, index: int) -> str:
        return f'/data/rgb/a/{index}\n\udce9.jpg'


class Data:
    data_source = Images()

    def __len__(self) -> int:
        return 3


def test_damaged_headers_are_one_line(tmp_path):
    path, rng = tmp_path / 'a.npy', random.Random(3)
    np.save(path, np.arange(12.0).reshape(3, 4))
    content, refused = path.read_bytes(), 0
    for at in range(128):
        for value in (rng.randrange(256), 0, ord("'"), ord('9')):
            path.write_bytes(content[:at] + bytes([value]) + content[at + 1 :])
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                try:
                    read_array(path, 'Make it again.')
                except DataError as error:
                    assert '\n' not in str(error) and 'a.npy' in str(error) and len(str(error)) < 600
                    refused += 1
    assert refused > 150
    for share in (0, 1, 64, 127, 128, 200):
        path.write_bytes(content[:share])
        with pytest.raises(DataError, match=r'no NumPy array file, or damaged.*Make it again'):
            read_array(path, 'Make it again.')


@pytest.mark.parametrize('dtype', ['>f4', '<f8', 'longdouble', '>i8', 'uint8'])
def test_arrays_of_other_machines(tmp_path, dtype):
    np.save(tmp_path / 'a.npy', np.arange(6).astype(dtype))
    assert torch.from_numpy(read_array(tmp_path / 'a.npy', '')).tolist() == [0, 1, 2, 3, 4, 5]


def test_objects_archives_and_nothing(tmp_path):
    np.save(tmp_path / 'a.npy', np.array([{'a': 1}]), allow_pickle=True)
    np.savez(tmp_path / 'b.npz', a=np.ones(2))
    for name, message in (('a.npy', 'Object arrays'), ('b.npz', 'archive of several'), ('c.npy', 'does not exist')):
        with pytest.raises(DataError, match=message):
            read_array(tmp_path / name, '')


def test_a_damaged_cache_says_what_to_remove(tmp_path):
    for name, value in (('layer0', np.ones((1, 4, 2), np.float16)), ('labels', np.arange(4))):
        np.save(tmp_path / f'{name}.npy', value)
    assert len(FeatureCache(tmp_path)) == 4
    (tmp_path / 'layer0.npy').write_bytes(b'no array')
    with pytest.raises(DataError, match=r'layer0\.npy.*Remove .* and start again'):
        FeatureCache(tmp_path)
    np.save(tmp_path / 'layer0.npy', np.ones((1, 3, 2)))
    with pytest.raises(DataError, match='do not belong together'):
        FeatureCache(tmp_path)


def test_features_of_something_else_are_not_replaced(tmp_path):
    model, folder = (
        {'type': 'MOCO', 'backbone': {'type': 'ResNet', 'depth': 18, 'out_indices': [4]}},
        tmp_path / 'features',
    )
    (tmp_path / 'w.pth').write_bytes(b'weights')
    folder.mkdir()

    def made(
        weights: str = str(tmp_path / 'w.pth'), layers: tuple = (4,), data: dict | None = None, depth: int = 18
    ) -> dict:
        return extracted.origin(
            {**model, 'backbone': {**model['backbone'], 'depth': depth}},
            weights,
            False,
            layers,
            data or {'root': 'a'},
            'reference',
        )

    first = made()
    extracted.check_free(folder, first, ['a', 'b'], False)
    for split in 'ab':
        np.save(folder / f'{split}_feat1.npy', np.ones((1, 2)))
    with pytest.raises(DataError, match=r'a_feat1\.npy exists, and extracted\.json does not say of which weights'):
        extracted.check_free(folder, first, ['a', 'b'], False)
    extracted.note(folder, first, ['a', 'b'], [2], Data())
    assert json.loads((folder / 'a_names.json').read_text()) == ['a/0\n\udce9.jpg', 'a/1\n\udce9.jpg']
    assert json.loads((folder / 'b_names.json').read_text()) == ['a/2\n\udce9.jpg']
    extracted.check_free(folder, made(), ['a', 'b'], False)  # the same again
    extracted.check_free(folder, made('random'), ['c'], False)  # other files
    for other, what in (
        (made('random'), 'sha256'),
        (made(layers=(3,)), 'layer'),
        (made(data={'root': 'b'}), 'images'),
        (made(depth=34), 'backbone'),
    ):
        with pytest.raises(DataError, match=rf'holds other features .*other {what}.*give --force'):
            extracted.check_free(folder, other, ['a'], False)
        extracted.check_free(folder, other, ['a'], True)
    (tmp_path / 'w.pth').write_bytes(b'weights trained on')
    with pytest.raises(DataError, match=r'of w\.pth, now w\.pth; other sha256'):
        extracted.check_free(folder, made(), ['a'], False)
    with pytest.raises(CheckpointError, match='cannot be read'):
        made(str(tmp_path / 'no.pth'))
