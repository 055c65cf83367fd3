"""Small loaders of random views, for the tests of loaders."""

import random

import numpy as np
import torch

from selfsup.datasets.loaders import build_loader

from .conftest import TENSOR

CPU = torch.device('cpu')


NORM = dict(mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.4])


# torch's, numpy's and python's generators all take part
VIEWS = [
    dict(type='RandomResizedCrop', size=10),
    dict(
        type='RandomAppliedTrans',
        p=0.5,
        transforms=[
            dict(type='ColorJitter', brightness=0.4, hue=0.1),
            dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0),
        ],
    ),
]


def shift(image):
    return image.point(lambda value: (value + random.randrange(2)) % 256)


def make(batch_size=16, workers=0, seed=1, rank=0, world_size=1, steps=VIEWS, size=100, **cfg):
    dataset = dict(
        type='ContrastiveDataset',
        data_source=FirstDigits(size),
        pipeline=[*steps, *([] if cfg.get('prefetch') else TENSOR)],
    )
    return build_loader(
        dict(batch_size=batch_size, num_workers=workers, dataset=dataset, **cfg),
        seed=seed,
        device=CPU,
        rank=rank,
        world_size=world_size,
    )


class FirstDigits:
    """The first images of the digits."""

    labels = None

    def __init__(self, size):
        from selfsup.datasets.data_sources import Digits

        self.digits, self.size = Digits(size=12, return_label=False), size

    def __len__(self):
        return self.size

    def get_sample(self, index):
        return self.digits.get_sample(index)


def images(loader, *epochs):
    found = []
    for epoch in epochs or (0,):
        loader.set_position(epoch)
        found += [batch['img'] for batch in loader]
    return found


class Counting(torch.utils.data.Dataset):
    prefetch = False

    def __init__(self):
        self.read = []

    def __len__(self):
        return 40

    def __getitem__(self, index):
        self.read.append(index)
        return {'img': torch.rand(1, 2, 2), 'numbers': torch.tensor([np.random.rand(), random.random()])}
