"""Mean and standard deviation per channel: the numbers of numpy, for every kind of image, and what is said about broken ones."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from selfsup.datasets.data_sources import Digits, ImageFolder
from selfsup.errors import DataError
from selfsup.evaluation.analysis.channel_statistics import channel_statistics, training_sources
from tests.datasets.conftest import save_image, truncate


class Stack:
    """Images of several sizes, each its own shade, as the source says."""

    value_range = None

    def __init__(self, channels, dtype, number=9):
        self.channels, self.dtype, self.number = channels, dtype, number

    def __len__(self):
        return self.number

    def values(self, index):
        values = np.random.RandomState(index).rand(self.channels, 3 + index, 5) * (index + 1) / self.number
        return (values * 255).astype(np.uint8) if self.dtype == 'uint8' else values.astype(np.float32)

    def get_sample(self, index):
        return torch.from_numpy(self.values(index)), 0


@pytest.mark.parametrize('dtype', ['uint8', 'float32'])
@pytest.mark.parametrize('channels', [1, 3, 13])
def test_all_pixels_count_the_same(channels, dtype):
    source = Stack(channels, dtype)
    got = channel_statistics([source], 100)
    pixels = np.concatenate([source.values(i).reshape(channels, -1) for i in range(9)], axis=1).astype(np.float64)
    pixels /= 255 if dtype == 'uint8' else 1
    np.testing.assert_allclose(got.mean, pixels.mean(1), rtol=1e-6)
    np.testing.assert_allclose(got.std, pixels.std(1), rtol=1e-6)
    assert (got.images, got.total, got.broken) == (9, 9, [])


def test_some_images_of_several_sources():
    """Evenly: of 9 + 9 images the first, the last and those between."""
    sources = [Stack(4, 'uint8'), Stack(4, 'float32')]
    got = channel_statistics(sources, 3)
    chosen = [sources[0].values(0) / 255, sources[0].values(8) / 255, sources[1].values(8)]
    pixels = np.concatenate([values.reshape(4, -1) for values in chosen], axis=1)
    np.testing.assert_allclose(got.std, pixels.std(1), rtol=1e-6)
    assert (got.images, got.total) == (3, 18)
    with pytest.raises(DataError, match='have 4 channels and 3: state channels='):
        channel_statistics([sources[0], Stack(3, 'uint8')], 18)


def test_broken_images_are_named_and_left_out(tmp_path):
    folder = tmp_path / 'images'
    for i in range(100):
        save_image(folder / ('cat' if i < 50 else 'dog') / f'{i:03d}.jpg', seed=i)
    source = ImageFolder(str(folder))
    for index in (3, 50):
        truncate(folder / ('cat' if index < 50 else 'dog') / f'{index:03d}.jpg')
    got = channel_statistics([source], 1000)
    assert got.images == 98 and [re.search(r'(\d+)\.jpg: OSError', line)[1] for line in got.broken] == ['003', '050']
    pictures = [np.asarray(Image.open(source.describe(i))) for i in range(100) if i not in (3, 50)]
    np.testing.assert_allclose(got.mean, np.concatenate(pictures).reshape(-1, 3).mean(0) / 255, rtol=1e-6)
    assert '003.jpg' in got.lines()[0] and got.lines()[1].startswith('img_norm_cfg = dict(mean=[0.')
    for path in folder.rglob('*.jpg'):
        path.write_bytes(b'no image')
    with pytest.raises(DataError, match='None of 5 training images can be read'):
        channel_statistics([source], 5)


def test_a_channel_of_one_value_can_be_divided_by():
    source = Stack(2, 'uint8')
    source.values = lambda index: np.stack([np.full((4, 4), 51, np.uint8), np.full((4, 4), 10 * index, np.uint8)])
    lines = channel_statistics([source], 9).lines()
    assert (
        lines[1].startswith('channel 0 (from 0) has one value') and 'mean=[0.2, ' in lines[2] and 'std=[1, ' in lines[2]
    )


def test_the_sources_of_a_config():
    digits = {'type': 'Digits', 'split': 'train'}
    inner = {'type': 'ContrastiveDataset', 'data_source': digits, 'pipeline': []}
    many = {'type': 'RepeatDataset', 'times': 3, 'dataset': inner}
    assert [len(source) for source in training_sources({'train_dataloader': {'dataset': many}})] == [
        len(Digits('train'))
    ]
    with pytest.raises(DataError, match='no data source of training images'):
        training_sources({'train_dataloader': None})
