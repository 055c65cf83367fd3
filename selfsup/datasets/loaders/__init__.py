"""From a dataset to batches on the device. All randomness of the data lies here.

`build_loader` (`build.py`) puts a loader together from one section of the runner config: a sampler says which samples an epoch holds
and in which order (`samplers.py`, `uniform.py`; `window.py` for sources that are read block by block), each sample is drawn with random
numbers of its own (`seeded.py`), and `DeviceLoader` (`device.py`) brings the batches to the device. Before the first batch,
`agreement.py` compares the data sets of all processes, and `shared_memory.py` compares the room that loader workers need with what is free;
`workers.py` says how many workers there are.

To add a sampler: a registered subclass of `EpochSampler` in `samplers.py`, whose order is a function of (seed, epoch). To add a setting of
loaders: a field of `LoaderSettings`.
"""

from .build import LOADER_KEYS, LoaderSettings, build_loader
from .device import DeviceLoader
from .samplers import EpochSampler
from .seeded import SeededDataset, first_image, images_in, shapes_of
from .window import WindowSampler

__all__ = [
    'LOADER_KEYS',
    'DeviceLoader',
    'EpochSampler',
    'LoaderSettings',
    'SeededDataset',
    'WindowSampler',
    'build_loader',
    'first_image',
    'images_in',
    'shapes_of',
]
