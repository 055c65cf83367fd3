"""A tiny data set of shapes to try detectors on: python benchmarks/detection/miniature.py data/shapes

Discs, squares and triangles of any colour on textured backgrounds, 64 to 128 pixels, one to three per image. Written twice, with the same
images: in COCO's format with masks (OUT/coco) and in VOC's layout (OUT/voc). The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageDraw

from selfsup import cli
from selfsup.errors import DataError

CLASSES = ('disc', 'square', 'triangle')
SPLITS = {'train': 120, 'val': 40}


def texture(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8: coarse noise of two dull colours with fine noise on it."""
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    share = np.asarray(coarse, dtype=np.float64)[..., None] / 255
    first, second = rng.integers(60, 190, (2, 3))
    return (share * first + (1 - share) * second + rng.normal(0, 12, (height, width, 3))).clip(0, 255).astype(np.uint8)


def outline(kind: int, box: tuple[int, int, int, int]) -> list[float]:
    """Polygon x, y, x, y, ... of a shape that fills `box` (x1, y1, x2, y2)."""
    x1, y1, x2, y2 = box
    if kind == 0:
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        points = np.stack(
            [(x1 + x2) / 2 + np.cos(angles) * (x2 - x1) / 2, (y1 + y2) / 2 + np.sin(angles) * (y2 - y1) / 2], axis=1
        )
        return points.round(2).ravel().tolist()
    return [float(v) for v in ((x1, y1, x2, y1, x2, y2, x1, y2) if kind == 1 else ((x1 + x2) / 2, y1, x2, y2, x1, y2))]


def draw(rng: np.random.Generator) -> tuple[Image.Image, list[tuple[int, tuple[int, int, int, int], list[float]]]]:
    """An image and its objects: class, box, polygon. Boxes overlap little."""
    width, height = (int(side) for side in rng.integers(64, 129, 2))
    image = Image.fromarray(texture(rng, width, height))
    canvas, objects = ImageDraw.Draw(image), []
    for _ in range(rng.integers(1, 4)):
        for _attempt in range(10):
            side = int(rng.integers(18, 41))
            x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
            if all(x >= b[2] or x + side <= b[0] or y >= b[3] or y + side <= b[1] for _, b, _ in objects):
                kind = int(rng.integers(len(CLASSES)))
                polygon = outline(kind, (x, y, x + side, y + side))
                canvas.polygon(polygon, fill=tuple(int(v) for v in rng.choice([20, 235], 3)))
                objects.append((kind, (x, y, x + side, y + side), polygon))
                break
    return image, objects


def xml(name: str, image: Image.Image, objects: list) -> str:
    """VOC's annotation of an image; pixels are counted from 1."""
    rows = ''.join(
        f'<object><name>{CLASSES[kind]}</name><difficult>0</difficult><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>'
        f'<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>\n'
        for kind, (x1, y1, x2, y2), _ in objects
    )
    return (
        f'<annotation><filename>{escape(name)}</filename><size><width>{image.width}</width><height>{image.height}</height>'
        f'<depth>3</depth></size>\n{rows}</annotation>\n'
    )


def write_split(out: Path, split: str, number: int, seed: int) -> None:
    """Images of one split, OUT/coco/SPLIT.json, and the same in OUT/voc/VOC2007."""
    rng = np.random.default_rng([seed, *split.encode()])
    images, annotations, names = [], [], []
    folders = [
        out / 'coco' / split,
        *(out / 'voc' / 'VOC2007' / part for part in ('JPEGImages', 'Annotations', 'ImageSets/Main')),
    ]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        name = f'{split}_{index:04d}'
        image, objects = draw(rng)
        for folder in folders[:2]:
            image.save(folder / f'{name}.jpg', quality=92)
        (folders[2] / f'{name}.xml').write_text(xml(f'{name}.jpg', image, objects))
        names.append(name)
        images.append({'id': index + 1, 'file_name': f'{name}.jpg', 'width': image.width, 'height': image.height})
        for kind, (x1, y1, x2, y2), polygon in objects:
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': index + 1,
                    'category_id': 10 * (kind + 1),
                    'iscrowd': 0,
                    'bbox': [x1, y1, x2 - x1, y2 - y1],
                    'area': (x2 - x1) * (y2 - y1),
                    'segmentation': [polygon],
                }
            )
    # As COCO's, not 1, 2, 3.
    categories = [{'id': 10 * (number + 1), 'name': name} for number, name in enumerate(CLASSES)]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    (out / 'coco' / f'{split}.json').write_text(json.dumps(content))
    (folders[3] / f'{split}.txt').write_text(''.join(f'{name}\n' for name in names))


def write_miniature(out: Path, splits: dict[str, int], seed: int = 0) -> None:
    """Write the data set to `out`.

    Args:
        out: folder; must not exist or be empty.
        splits: name -> number of images.
        seed: of all images.

    Raises:
        DataError: there is something in `out`.
    """
    if out.exists() and any(out.iterdir()):
        raise DataError(f'{out} is not empty; give another folder.')
    for split, number in splits.items():
        write_split(out, split, number, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder to write, such as data/shapes')
    parser.add_argument(
        '--images', type=int, nargs=2, default=list(SPLITS.values()), metavar=('TRAIN', 'VAL'), help='images per split'
    )
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    write_miniature(args.out, dict(zip(SPLITS, args.images, strict=True)), args.seed)
    print(f'{args.out}: {sum(args.images)} images')


if __name__ == '__main__':
    cli.run(main)
