"""What the tests of fast forms share: photos, seeds, generator states, likeness."""

import math
import random
from functools import cache

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from selfsup.datasets.pipelines import build_pipeline
from selfsup.datasets.pipelines.forms import FastPipeline

EQUAL = 60.0  # decibels; what two images count for whose mean squared difference is below a millionth


@cache
def photos():
    """scikit-learn's two photos, 640 x 427."""
    return [Image.fromarray(image) for image in load_sample_images().images]


@cache
def crops(side=224, number=8):
    """Squares of different parts of the photos."""
    made = []
    for seed in range(number):
        image, draw = photos()[seed % 2], np.random.RandomState(seed)
        cut = int(draw.randint(150, 400))
        left, top = draw.randint(0, image.width - cut), draw.randint(0, image.height - cut)
        made.append(image.crop((left, top, left + cut, top + cut)).resize((side, side), Image.Resampling.BICUBIC))
    return made


def noise(height, width, seed=0):
    return Image.fromarray(np.random.RandomState(seed).randint(0, 256, (height, width, 3), dtype=np.uint8))


def seed_all(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def states():
    """Where the three generators stand."""
    kind, keys, *rest = np.random.get_state()
    return random.getstate(), (kind, keys.tolist(), *rest), torch.get_rng_state().tolist()


def both(steps, image, seed):
    """Output of the reference and of the fast pipeline with the same seed; the generators must stand at the same place after it."""
    reference = build_pipeline(steps) if isinstance(steps, list) else steps
    seed_all(seed)
    expected, after = reference(image), states()
    seed_all(seed)
    got = FastPipeline(reference)(np.asarray(image))
    assert states() == after
    return expected, got


def decibels(expected, got, std=None):
    """PSNR in images of [0, 255], or in tensors of [0, 1] that were divided by `std`."""
    if isinstance(expected, torch.Tensor):
        assert expected.shape == got.shape and expected.dtype == got.dtype
        scale = 255 * (1 if std is None else torch.tensor(std).view(-1, 1, 1))
        difference = ((expected - got) * scale).numpy()
    else:
        assert isinstance(got, np.ndarray) and got.shape == np.asarray(expected).shape
        difference = np.asarray(expected, np.float32) - got
    error = float(np.mean(np.square(difference)))
    return EQUAL if error < 255**2 * 1e-6 else 10 * math.log10(255**2 / error)
