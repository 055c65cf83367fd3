"""How many images one core turns into views per second, for every recipe and every way to make the views.

    python benchmarks/speed/pipeline.py --photos FOLDER
    python benchmarks/speed/pipeline.py --photos FOLDER --recipes moco_v2 byol --repeats 9 --out /tmp/pipeline.json

The files are read into memory first. Then all ways of a recipe take turns, each over all photos with the same seed; what is compared are
medians of CPU seconds of one process with one thread, so other load on the machine disturbs little. `reference` and `fast` are the
two backends of `pipeline_backend`, decoding included; `fast_plain` is `fast` with the decoder of a plain install, torchvision's, where
simplejpeg is there too; `on_device` is what is left for a worker with augment_on_device; `cached` and
`cached_on_device` are the same from a cache of images with a shorter side of 256 pixels. `lightly` and `solo_learn` are their transforms
of the same method, after Pillow's decoding, where those packages are installed. `entropy_decoding` is Pillow reading the whole file for
an eighth of the pixels per side: an estimate, from above, of what no way that begins with the JPEG file can save.

To add a way: a function under `@way`, from a recipe and the photos to something that makes the views of photo i, or None where it cannot.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timing import medians, seed_all

from selfsup.config import load
from selfsup.datasets.data_sources.base import EncodedSource
from selfsup.datasets.decoding import Decoder, image_libraries
from selfsup.datasets.decoding.fast import MAKERS
from selfsup.datasets.decoding.jpeg_header import orientation_if_plain
from selfsup.datasets.pipelines import build_pipeline
from selfsup.datasets.pipelines.forms import FastPipeline
from selfsup.datasets.pipelines.forms.batch import DeviceShare
from selfsup.errors import ConfigError
from selfsup.registry import DATASETS

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / 'benchmarks' / 'results' / 'speed' / 'pipeline.json'
TARGETS = {'moco_v2': 3.5, 'simclr': 3.0, 'byol': 3.0, 'spark': 1.6, 'fcmae': 1.6, 'finetune_convnextv2': 2.0}
WITH_SIMPLEJPEG = {'moco_v2': 4.0}
MORE_TARGETS = {'fast_plain': 3.5, 'on_device': 5.0, 'cached': 6.0, 'cached_on_device': 12.0}  # of MoCo v2
CACHED_SIDE = 256
RECIPES = {
    'moco_v1': 'selfsup/moco/r50_v1.py',
    'moco_v2': 'selfsup/moco/r50_v2.py',
    'simclr': 'selfsup/simclr/r50_bs256_ep200.py',
    'byol': 'selfsup/byol/r50_bs2048_accumulate2_ep200_fp16.py',
    'npid': 'selfsup/npid/r50.py',
    'deepcluster': 'selfsup/deepcluster/r50.py',
    'rotation_pred': 'selfsup/rotation_pred/r50.py',
    'relative_loc': 'selfsup/relative_loc/r50.py',
    'spark': 'selfsup/spark/r50.py',
    'fcmae': 'selfsup/fcmae/tiny.py',
    'finetune_convnextv2': 'benchmarks/finetuning/imagenet/convnextv2_atto.py',
    'finetune_spark': 'benchmarks/finetuning/imagenet/spark_r50.py',
    'linear': 'benchmarks/linear_classification/imagenet/r50_last.py',
    'linear_multihead': 'benchmarks/linear_classification/imagenet/r50_multihead.py',
    'validation': 'benchmarks/linear_classification/imagenet/r50_last.py',
}
SUFFIXES = ('.jpg', '.jpeg')
COLOUR = dict(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
# One step each; what `ColorJitter` does is timed operation by operation.
OPERATIONS: dict[str, list[dict]] = {
    'crop, bilinear': [dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.0))],
    'crop, bicubic': [dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.0), interpolation=3)],
    'resize 256 and centre crop': [dict(type='Resize', size=256), dict(type='CenterCrop', size=224)],
    'horizontal flip': [dict(type='RandomHorizontalFlip', p=1.0)],
    'brightness': [dict(type='ColorJitter', **{**COLOUR, 'brightness': 0.4})],
    'contrast': [dict(type='ColorJitter', **{**COLOUR, 'contrast': 0.4})],
    'saturation': [dict(type='ColorJitter', **{**COLOUR, 'saturation': 0.4})],
    'hue': [dict(type='ColorJitter', **{**COLOUR, 'hue': 0.1})],
    'grayscale': [dict(type='RandomGrayscale', p=1.0)],
    'blur': [dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0)],
    'solarization': [dict(type='Solarization')],
    'rotation, nearest': [dict(type='RandomRotation', degrees=2)],
    'RandAugment (timm)': [dict(type='TIMMAutoAugment', policy='rand-m9-mstd0.5-inc1')],
    'TrivialAugmentWide': [dict(type='TrivialAugmentWide', interpolation=3)],
    'ToTensor and Normalize': [
        dict(type='ToTensor'),
        dict(type='Normalize', mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    ],
}
CROPS = ('crop', 'resize')  # operations on whole photos; the others get crops of 224 pixels


class Photos(EncodedSource):
    """JPEG files in memory.

    Args:
        folder: where they lie, at any depth.
        limit: as many at most.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        super().__init__()
        paths = sorted(path for path in folder.rglob('*') if path.suffix.lower() in SUFFIXES)[:limit]
        if not paths:
            raise SystemExit(f'{folder} holds no JPEG file.')
        self.files = [path.read_bytes() for path in paths]
        self.labels = np.zeros(len(paths), np.int64)

    def __len__(self) -> int:
        return len(self.files)

    def read_bytes(self, index: int) -> bytes:
        return self.files[index]

    def describe(self, index: int) -> str:
        return f'photo {index}'

    def images(self) -> list[Image.Image]:
        """All of them, decoded by Pillow."""
        return [Image.open(io.BytesIO(data)).convert('RGB') for data in self.files]


class PlainDecoder(Decoder):
    """The decoder of the fast backend where simplejpeg is not installed."""

    def __init__(self) -> None:
        super().__init__()
        self.jpeg = MAKERS['torchvision']()

    def _rgb(self, data: bytes, name: Callable[[], str]) -> Any:
        image = None if orientation_if_plain(data) is None else self.jpeg(data)
        return super()._rgb(data, name) if image is None else image


Way = Callable[[str, Photos], 'Callable[[int], Any] | None']
WAYS: dict[str, Way] = {}


def way(make: Way) -> Way:
    """Decorator: one more way, called by the name of the function."""
    WAYS[make.__name__] = make
    return make


def dataset_of(recipe: str, photos: Photos, prefetch: bool) -> Any:
    """The dataset of a recipe's config on the photos."""
    cfg = load(str(ROOT / 'configs' / RECIPES[recipe])).cfg
    described = cfg['data']['val' if recipe == 'validation' else 'train']
    return DATASETS.build({**described, 'data_source': photos, 'prefetch': prefetch})


def backend(
    recipe: str,
    photos: Photos,
    which: str,
    device: bool = False,
    cache: bool = False,
    decoder: type[Decoder] = Decoder,
) -> Callable[[int], Any]:
    """Samples of the recipe's dataset, as a loader's worker makes them; for a device that does the rest, or from a cache."""
    source = Photos.__new__(Photos)
    source.__dict__.update(photos.__dict__, decoder=decoder())
    dataset = dataset_of(recipe, source, prefetch=device)
    dataset.use_backend(which)
    if cache:
        dataset.use_cache(dict(size=CACHED_SIDE, where='memory'))
    if device:
        dataset.share_with(DeviceShare())
    return dataset.__getitem__


@way
def reference(recipe: str, photos: Photos) -> Callable[[int], Any]:
    return backend(recipe, photos, 'reference')


@way
def fast(recipe: str, photos: Photos) -> Callable[[int], Any]:
    return backend(recipe, photos, 'fast')


@way
def fast_plain(recipe: str, photos: Photos) -> Callable[[int], Any] | None:
    if 'simplejpeg' not in image_libraries():
        return None  # `fast` is that
    return backend(recipe, photos, 'fast', decoder=PlainDecoder)


@way
def on_device(recipe: str, photos: Photos, cache: bool = False) -> Callable[[int], Any] | None:
    try:
        return backend(recipe, photos, 'fast', device=True, cache=cache)
    except ConfigError:  # a step after Normalize, such as RandomErasing, has no place on the device
        return None


@way
def cached(recipe: str, photos: Photos) -> Callable[[int], Any]:
    return backend(recipe, photos, 'fast', cache=True)


@way
def cached_on_device(recipe: str, photos: Photos) -> Callable[[int], Any] | None:
    return on_device(recipe, photos, cache=True)


def after_pillow(photos: Photos, views: Callable[[Image.Image], Any]) -> Callable[[int], Any]:
    """Views of what Pillow decodes."""
    return lambda index: views(Image.open(io.BytesIO(photos.files[index])).convert('RGB'))


@way
def lightly(recipe: str, photos: Photos) -> Callable[[int], Any] | None:
    if recipe not in ('moco_v1', 'moco_v2', 'simclr', 'byol') or importlib.util.find_spec('lightly') is None:
        return None
    from lightly import transforms

    names = {'moco_v1': 'MoCoV1', 'moco_v2': 'MoCoV2', 'simclr': 'SimCLR', 'byol': 'BYOL'}
    return after_pillow(photos, getattr(transforms, f'{names[recipe]}Transform')())


@way
def solo_learn(recipe: str, photos: Photos) -> Callable[[int], Any] | None:
    package = importlib.util.find_spec('solo')
    if recipe not in ('moco_v2', 'simclr', 'byol') or package is None or package.origin is None:
        return None
    # Only the file with the transforms: the package itself imports all methods and needs one certain version of lightning.
    path = Path(package.origin).parent / 'utils' / 'pretrain_dataloader.py'
    spec = importlib.util.spec_from_file_location('solo_transforms', path)
    if spec is None or spec.loader is None or not path.exists():
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    strengths = {'moco_v2': (0.4, 0.4, 0.4, 0.1), 'simclr': (0.8, 0.8, 0.8, 0.2), 'byol': (0.4, 0.4, 0.2, 0.1)}
    extra = [dict(gaussian_prob=1.0), dict(gaussian_prob=0.1, solarization_prob=0.2)] if recipe == 'byol' else [{}, {}]
    smallest = 0.2 if recipe == 'moco_v2' else 0.08
    both = [module.ImagenetTransform(*strengths[recipe], min_scale=smallest, **more) for more in extra]
    return after_pillow(photos, lambda image: [views(image) for views in both])


def measure_recipe(recipe: str, photos: Photos, ways: list[str], repeats: int) -> dict[str, Any]:
    """All ways of one recipe."""
    numbers = range(len(photos))
    made = {name: WAYS[name](recipe, photos) for name in ways}
    found = medians({name: (call, numbers) for name, call in made.items() if call is not None}, repeats)
    for taken in found.values():
        taken['images_per_second'] = round(1000 / taken['milliseconds'], 1)
        if 'reference' in found:
            taken['times_reference'] = round(found['reference']['milliseconds'] / taken['milliseconds'], 2)
    result: dict[str, Any] = {'config': f'configs/{RECIPES[recipe]}', 'ways': found}
    if recipe in TARGETS and 'times_reference' in found.get('fast', {}):
        target = (
            TARGETS[recipe] if 'simplejpeg' not in image_libraries() else WITH_SIMPLEJPEG.get(recipe, TARGETS[recipe])
        )
        result |= {'target': target, 'reached': found['fast']['times_reference'] >= target}
    if recipe == 'moco_v2' and 'reference' in found:
        for name, target in MORE_TARGETS.items():
            if name in found:
                found[name] |= {'target': target, 'reached': found[name]['times_reference'] >= target}
    return result


def decibels(one: Any, other: Any) -> float:
    """PSNR of two 8-bit images; infinite for equal ones."""
    error = np.mean((np.asarray(one, np.float64) - np.asarray(other, np.float64)) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def likeness(step: Callable, form: Callable, images: list[Image.Image]) -> Iterator[float]:
    """PSNR of both outputs, image by image, with the same draws."""
    for number, image in enumerate(images):
        seed_all(number)
        expected = step(image)
        seed_all(number)
        got = form(np.asarray(image))
        if isinstance(expected, torch.Tensor):
            yield math.inf if torch.equal(expected, got) else 0.0
        else:
            yield decibels(expected, got)


def measure_operations(photos: Photos, repeats: int) -> dict[str, dict[str, Any]]:
    """Milliseconds and PSNR of each operation."""
    whole = photos.images()
    crops = [image.resize((224, 224), Image.Resampling.BICUBIC) for image in whole]
    results = {}
    for name, steps in OPERATIONS.items():
        images = whole if name.startswith(CROPS) else crops
        step = build_pipeline(steps)
        form = FastPipeline(step)
        arrays = [np.asarray(image) for image in images]
        found = medians({'reference': (step, images), 'fast': (form, arrays)}, repeats)
        psnr = list(likeness(step, form, images))
        results[name] = {
            'reference': found['reference'],
            'fast': found['fast'],
            'times_reference': round(found['reference']['milliseconds'] / found['fast']['milliseconds'], 2),
            'equal_images': round(sum(value == math.inf for value in psnr) / len(psnr), 3),
            'psnr_of_the_others': {
                'mean': round(statistics.mean(value for value in psnr if value < math.inf), 1),
                'smallest': round(min(psnr), 1),
            }
            if min(psnr) < math.inf
            else None,
        }
        slow, quick = (found[which]['milliseconds'] for which in ('reference', 'fast'))
        print(
            f'{name:28s} {slow:7.3f} -> {quick:7.3f} ms  {results[name]["psnr_of_the_others"] or "equal"}', flush=True
        )
    return results


def eighth(data: bytes) -> None:
    """Decode at an eighth of the size: all of the entropy decoding, and little else."""
    image = Image.open(io.BytesIO(data))
    image.draft('RGB', (image.width // 8, image.height // 8))
    image.load()


def measure_decoding(photos: Photos, repeats: int) -> dict[str, dict[str, float]]:
    """Pillow, the decoder of the fast backend, and entropy decoding alone."""
    decoders = {which: type(photos.decoder)() for which in ('reference', 'fast')}
    for which, decoder in decoders.items():
        decoder.use_backend(which)
    calls = {which: (decoder, photos.files) for which, decoder in decoders.items()}
    return medians({**calls, 'entropy_decoding': (eighth, photos.files)}, repeats)


def plot(result: dict[str, Any], path: Path) -> None:
    """Bars: images per second of every way of every recipe."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    recipes = list(result['recipes'])
    ways = [name for name in WAYS if any(name in result['recipes'][recipe]['ways'] for recipe in recipes)]
    figure, axes = plt.subplots(figsize=(7, 0.32 * len(recipes) + 1.6))
    height = 0.8 / len(ways)
    for number, name in enumerate(ways):
        rows = [(place, result['recipes'][r]['ways'].get(name)) for place, r in enumerate(recipes)]
        bars = [(place + number * height, row['images_per_second']) for place, row in rows if row]
        axes.barh(*zip(*bars, strict=True), height=height, label=name.replace('_', ' '))
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(recipes))], recipes, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel('photos per second on one core')
    axes.legend(fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def write(result: dict[str, Any], path: Path) -> None:
    """The record as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + '\n')


def main() -> None:
    """Measure, print one line per row, write JSON and a picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--photos', type=Path, required=True, help='folder with JPEG files, at any depth')
    parser.add_argument('--limit', type=int, default=100, help='photos at most')
    parser.add_argument('--recipes', nargs='+', choices=RECIPES, default=list(RECIPES))
    parser.add_argument('--ways', nargs='+', choices=WAYS, default=list(WAYS))
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--no_operations', action='store_true', help='leave the table of single operations out')
    parser.add_argument('--out', type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    photos = Photos(args.photos, args.limit)
    sizes = [Image.open(io.BytesIO(data)).size for data in photos.files]
    result: dict[str, Any] = {
        'photos': len(photos),
        'mean_size': [round(statistics.mean(side), 1) for side in zip(*sizes, strict=True)],
        'mean_kilobytes': round(statistics.mean(map(len, photos.files)) / 1000, 1),
        'repeats': args.repeats,
        'libraries': {**image_libraries(), 'torch': torch.__version__, 'python': platform.python_version()},
        'machine': platform.processor() or platform.machine(),
        'decoding': measure_decoding(photos, args.repeats),
        'recipes': {},
    }
    for recipe in args.recipes:
        result['recipes'][recipe] = found = measure_recipe(recipe, photos, args.ways, args.repeats)
        shown = '  '.join(f'{name} {taken["images_per_second"]}' for name, taken in found['ways'].items())
        write(result, args.out)  # what is measured is not lost when the rest is broken off
        print(f'{recipe:20s} {shown}  x{found["ways"].get("fast", {}).get("times_reference", "-")}', flush=True)
    if not args.no_operations:
        result['operations'] = measure_operations(photos, args.repeats)
    write(result, args.out)
    if importlib.util.find_spec('matplotlib') is not None:
        plot(result, args.out.with_suffix('.png'))
    print(f'Written to {args.out}.', file=sys.stderr)


if __name__ == '__main__':
    main()
