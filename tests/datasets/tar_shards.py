"""Small tar shards of noise images, and what breaks them."""

import io
import json
import tarfile

import numpy as np
from PIL import Image


def encoded(seed, size=(20, 16), kind='PNG'):
    pixels = np.random.RandomState(seed).randint(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def write_tar(path, members, mode='w'):
    """A tar of (name, bytes) pairs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def samples(first, count, label=lambda i: ('cls', str(i % 5))):
    """Members of `count` samples: image i is that of seed i."""
    for i in range(first, first + count):
        yield f'{i:06d}.png', encoded(i)
        ending, text = label(i)
        if ending:
            yield f'{i:06d}.{ending}', text.encode()


def write_shards(folder, shards=4, each=10, ending='.tar', **settings):
    """`shards` shards of `each` samples."""
    mode = 'w:gz' if ending != '.tar' else 'w'
    return [
        write_tar(folder / f'train-{k:03d}{ending}', samples(k * each, each, **settings), mode) for k in range(shards)
    ]


def json_label(i):
    return 'json', json.dumps({'of': {'class': ('cat', 'dog')[i % 2]}, 'number': i})


def cut(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
