"""A folder in the layout of VOC2007: small JPEGs whose stripes say what they show, with their lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ('bottle', 'cat', 'sofa')


def write(folder: Path, trainval: int = 42, test: int = 30, pixels: int = 48) -> Path:
    """Make `folder`/VOCdevkit/VOC2007; about a third of the images show each class, one of twelve is difficult."""
    rng = np.random.default_rng(0)
    voc = folder / 'VOCdevkit' / 'VOC2007'
    main = voc / 'ImageSets' / 'Main'
    for path in (main, voc / 'JPEGImages'):
        path.mkdir(parents=True)
    number = 0
    for partition, images in (('trainval', trainval), ('test', test)):
        lines: dict[str, list[str]] = {name: [] for name in CLASSES}
        names = []
        for _ in range(images):
            number += 1
            names.append(f'{number:06d}')
            picture = rng.integers(0, 90, (pixels, pixels + 16, 3), dtype=np.uint8)
            for column, name in enumerate(CLASSES):
                shown = rng.random() < 0.35
                if shown:
                    picture[:: column + 2, :, column] += 140
                value = '0' if rng.random() < 1 / 12 else '1' if shown else '-1'
                lines[name].append(f'{names[-1]} {value:>2}')
            Image.fromarray(picture).save(voc / 'JPEGImages' / f'{names[-1]}.jpg')
        (main / f'{partition}.txt').write_text('\n'.join(names) + '\n')
        for name in CLASSES:
            (main / f'{name}_{partition}.txt').write_text('\n'.join(lines[name]) + '\n')
    return voc
