"""Mean and standard deviation of every channel of the training images, as `Normalize` and `img_norm_cfg` take them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...datasets.base import as_image
from ...datasets.pipelines import ToTensor
from ...datasets.pipelines.forms import as_pil
from ...datasets.robust import EXHAUSTED, UNREADABLE, error_line, name_of
from ...errors import DataError, listed
from ...machine import cores
from ...registry import DATA_SOURCES
from ..readable import sections


@dataclass(frozen=True)
class Moments:
    """Pixels that were counted, their mean and their squared deviations from it, per channel, in double precision."""

    count: int
    mean: np.ndarray  # (C,)
    squares: np.ndarray  # (C,) sum of (x - mean)^2

    @classmethod
    def of(cls, pixels: np.ndarray) -> Moments:
        """Of one image (C, H, W)."""
        flat = pixels.reshape(len(pixels), -1).astype(np.float64)
        mean = flat.mean(axis=1)
        return cls(flat.shape[1], mean, np.square(flat - mean[:, None]).sum(axis=1))

    def joined(self, other: Moments) -> Moments:
        """Of the pixels of both (Chan, Golub and LeVeque 1979, equations 2.1)."""
        count, apart = self.count + other.count, other.mean - self.mean
        squares = self.squares + other.squares + np.square(apart) * (self.count * other.count / count)
        return Moments(count, self.mean + apart * (other.count / count), squares)


@dataclass(frozen=True)
class ChannelStatistics:
    """What was measured.

    Attributes:
        mean, std: per channel, of images in [0, 1]; every pixel counts the same, and std is that of all pixels together.
        images: that were read.
        total: that there are.
        broken: names of those that cannot be read, with the reason.
    """

    mean: list[float]
    std: list[float]
    images: int
    total: int
    broken: list[str]

    def lines(self) -> list[str]:
        """What there is to say, the last line to be pasted into a config."""
        constant = [str(channel) for channel, value in enumerate(self.std) if value == 0]
        unread = f'; left out, as they cannot be read: {listed(self.broken)}' if self.broken else ''
        stds = [value or 1.0 for value in self.std]
        return [
            f'channels: {len(self.mean)}, measured on {self.images:,} of {self.total:,} training images in [0, 1]{unread}',
            *(
                [f'channel {", ".join(constant)} (from 0) has one value in all of them: its std is written as 1']
                if constant
                else []
            ),
            f'img_norm_cfg = dict(mean=[{_numbers(self.mean)}], std=[{_numbers(stds)}])',
        ]


def _numbers(values: Iterable[float]) -> str:
    return ', '.join(f'{value:.4g}' for value in values)


def training_sources(compiled: dict[str, Any]) -> list[Any]:
    """The data sources of the training images of a runner config. No pipeline is built: its statistics may be what is looked for.

    Raises:
        DataError: there are none.
    """
    loading = compiled.get('train_dataloader') or {}
    sources = [
        config for config in sections({'train': loading.get('dataset')}).values() if config['type'] in DATA_SOURCES
    ]
    if not sources:
        raise DataError('The config has no data source of training images, whose channels could be measured.')
    return [DATA_SOURCES.build(config) for config in sources]


def channel_statistics(
    sources: list[Any], images: int, say: Callable[[str], Any] = lambda line: None
) -> ChannelStatistics:
    """Measure images spread evenly over data sources.

    Args:
        sources: data sources.
        images: how many at most.
        say: takes a line of progress, every 1,000 images.

    Raises:
        DataError: none can be read, or they differ in their number of channels.
    """
    ends = np.cumsum([len(source) for source in sources])
    total = int(ends[-1])
    chosen = np.unique(np.linspace(0, total - 1, min(images, total)).round().astype(int)).tolist()

    def measure(number: int) -> Moments | str:
        part = int(np.searchsorted(ends, number, side='right'))
        return _moments(sources[part], number - int(ends[part - 1] if part else 0))

    sums: Moments | None = None
    broken: list[str] = []
    with ThreadPoolExecutor(cores()) as pool:
        for done, result in enumerate(pool.map(measure, chosen), 1):
            if isinstance(result, str):
                broken.append(result)
            elif sums is not None and len(sums.mean) != len(result.mean):
                raise DataError(
                    f'The training images have {len(sums.mean)} channels and {len(result.mean)}: state channels=... of the data source.'
                )
            else:
                sums = result if sums is None else sums.joined(result)
            if done % 1000 == 0:
                say(f'  measured {done:,} of {len(chosen):,}')
    if sums is None:
        raise DataError(f'None of {len(chosen)} training images can be read: {listed(broken)}')
    std = np.sqrt(sums.squares / sums.count)
    return ChannelStatistics(sums.mean.tolist(), std.tolist(), len(chosen) - len(broken), total, broken)


def _moments(source: Any, index: int) -> Moments | str:
    """Of one image; why it cannot be read where it cannot."""
    try:
        sample = source.get_sample(index)
        image = as_image(sample[0] if isinstance(sample, tuple) else sample, source)
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno in EXHAUSTED:
            raise
        return f'{name_of(source, index)}: {error_line(error)}'
    return Moments.of(ToTensor()(as_pil(image)).numpy())
