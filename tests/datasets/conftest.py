"""Small real files to read."""

import numpy as np
import pytest
from PIL import Image

TENSOR = [dict(type='ToTensor'), dict(type='Normalize', mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.4])]


def save_image(path, seed=0, size=(20, 16), mode='RGB'):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(seed).randint(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.fixture
def folder(tmp_path):
    """100 JPEGs in two class folders."""
    root = tmp_path / 'images'
    for i in range(100):
        save_image(root / ('cat' if i < 50 else 'dog') / f'{i:03d}.jpg', seed=i)
    return root
