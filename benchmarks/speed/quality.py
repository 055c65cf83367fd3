"""How much the views of the fast backend look like those of the reference: PSNR of every recipe on photos, with the same draws.

    python benchmarks/speed/quality.py --photos FOLDER

Both backends start from the same pixels; each photo is drawn once per pipeline. Policies (RandAugment, TrivialAugment) hold steps with
thresholds, such as posterize and equalize, at which one level of difference before the step becomes many after it: views in which one was
drawn count in the mean, and have a smallest value of their own.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pipeline import ROOT, Photos, dataset_of
from timing import seed_all

from selfsup.datasets.decoding import image_libraries
from selfsup.datasets.pipelines.forms import FastPipeline

OUT = ROOT / 'benchmarks' / 'results' / 'speed' / 'pipeline_quality.json'
RECIPES = (
    'moco_v1',
    'moco_v2',
    'simclr',
    'byol',
    'spark',
    'fcmae',
    'finetune_convnextv2',
    'finetune_spark',
    'linear',
    'deepcluster',
    'rotation_pred',
)
MEAN, SMALLEST = 46.0, 35.0  # limits in decibels
EQUAL = 60.0  # what nearly equal views count for
THRESHOLDS = ('Equalize', 'AutoContrast', 'Posterize', 'Solarize')


def std_of(pipeline: Any) -> torch.Tensor:
    """(3, 1, 1): what its Normalize divides by."""
    return torch.tensor(next(step.std for step in pipeline.steps if type(step).__name__ == 'Normalize')).view(3, 1, 1)


def decibels(expected: torch.Tensor, got: torch.Tensor, std: torch.Tensor) -> float:
    """PSNR of two normalised views, in levels of 255."""
    error = float(((expected - got) * std * 255).square().mean())
    return EQUAL if error < 255**2 * 1e-6 else 10 * math.log10(255**2 / error)


def has_threshold(fast: FastPipeline, size: tuple[int, int], seed: int) -> bool:
    """Whether a policy draws an operation with a threshold."""
    seed_all(seed)
    for step in fast.steps:
        form = getattr(step, 'form', None)
        params = None if form is None else form.draw(size)
        if params is None:
            continue
        size = form.size_after(size, params)
        if isinstance(params, list) and any(name.startswith(THRESHOLDS) for name, *_ in params):
            return True
    return False


def measure(pipeline: Any, images: Sequence[Any], seed: int) -> dict[str, Any]:
    """Mean and smallest PSNR of one draw per image."""
    fast, std = FastPipeline(pipeline), std_of(pipeline)
    plain, thresholded = [], []
    for number, image in enumerate(images):
        draw = seed * len(images) + number
        seed_all(draw)
        expected = pipeline(image)
        seed_all(draw)
        value = decibels(expected, fast(np.asarray(image)), std)
        (thresholded if has_threshold(fast, (image.height, image.width), draw) else plain).append(value)
    mean, smallest = statistics.mean(plain + thresholded), min(plain)
    result = {'mean': round(mean, 1), 'smallest': round(smallest, 1), 'views': len(images)}
    if thresholded:
        result |= {'views_with_thresholds': len(thresholded), 'smallest_of_those': round(min(thresholded), 1)}
    return {**result, 'reached': mean >= MEAN and smallest >= SMALLEST}


def main() -> None:
    """Measure, print a line per pipeline, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--photos', type=Path, required=True, help='folder with JPEG files, at any depth')
    parser.add_argument('--limit', type=int, default=1000, help='photos at most')
    parser.add_argument('--recipes', nargs='+', choices=RECIPES, default=list(RECIPES))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    photos = Photos(args.photos, args.limit)
    images = photos.images()
    result: dict[str, Any] = {
        'photos': len(images),
        'seed': args.seed,
        'limits': {'mean': MEAN, 'smallest': SMALLEST},
        'libraries': {**image_libraries(), 'torch': torch.__version__},
        'recipes': {},
    }
    for recipe in args.recipes:
        found = {}
        for name, pipeline in dataset_of(recipe, photos, prefetch=False).pipelines.items():
            found[name] = measure(pipeline, images, args.seed)
            print(f'{recipe:20s} {name:10s} {found[name]}', flush=True)
        result['recipes'][recipe] = found
        args.out.write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
    main()
