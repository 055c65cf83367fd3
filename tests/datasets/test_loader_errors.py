"""What goes wrong in a loader or its workers, and settings that cannot be: one clear error each."""

import os
import signal

import pytest
import torch
from torch.utils.data import get_worker_info

from selfsup.datasets.loaders import build_loader
from selfsup.errors import ConfigError, DataError, ShapeError

from .conftest import TENSOR, save_image
from .loader_runs import CPU, Counting, make


class Dying(Counting):
    def __getitem__(self, index):
        if get_worker_info() is not None:  # one sample is measured in this process first
            os.kill(os.getpid(), signal.SIGKILL)
        return {'img': torch.zeros(3, 2, 2)}


def test_a_dead_worker_is_one_clear_error():
    loader = build_loader(dict(batch_size=4, num_workers=1, dataset=Dying()), seed=0, device=CPU)
    with pytest.raises(DataError, match=r'A loader worker died \(DataLoader worker \(pid.*lower workers_per_gpu'):
        list(loader)


@pytest.mark.parametrize('workers', [0, 1])
def test_user_errors_arrive_as_one_line(workers):
    loader = make(workers=workers, steps=[dict(type='RandomCrop', size=99)])
    with pytest.raises(DataError, match=r'^sample \d+: pipeline step RandomCrop failed on a 12x12 image: [^\n]*$'):
        list(loader)
    loader.close()


@pytest.mark.parametrize('workers', [0, 1])
def test_images_of_different_sizes(tmp_path, workers):
    save_image(tmp_path / 'a.png', size=(9, 9))
    save_image(tmp_path / 'b.png', size=(8, 8))
    dataset = dict(type='ExtractDataset', data_source=dict(type='ImageFolder', root=str(tmp_path)), pipeline=TENSOR)
    loader = build_loader(dict(batch_size=2, num_workers=workers, dataset=dataset), seed=0, device=CPU)
    with pytest.raises(DataError, match=r'The images of a batch differ in size: \(3, 8, 8\), \(3, 9, 9\)'):
        list(loader)
    loader.close()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(num_worker=2), "'num_worker' is not a setting of a loader. Did you mean 'num_workers'"),
        (dict(batch_size=0), 'batch_size=0: must be a whole number >= 1'),
        (dict(num_workers=-1), 'num_workers=-1: must be'),
        (
            dict(prefetch=True, dataset=dict(type='ExtractDataset', data_source=dict(type='Digits'), pipeline=[])),
            r'prefetch=True needs img_norm_cfg=dict\(mean=\[...\], std=\[...\]\); got None',
        ),
        (
            dict(prefetch=dict(augment=True)),
            'LoaderSettings prefetch.augment=True: is not a key of LoaderSettings prefetch. Known: augment_on_device',
        ),
        (dict(prefetch=dict(images_on_device=True)), 'images_on_device needs augment_on_device=True'),
        (
            dict(prefetch=True, img_norm_cfg=dict(mean=[0.1], std=[0.1])),
            'Normalize of pipeline .* and img_norm_cfg .* contradict each',
        ),
        (dict(sampler=dict(type='EpochSample')), "Did you mean 'EpochSampler'"),
        (dict(sampler=dict(shufle=True)), "Did you mean 'shuffle'"),
        (
            dict(dataset=dict(type='ExtractDataset', data_source=dict(type='Digits'), pipeline=[], prefetch=True)),
            'contradict each other',
        ),
    ],
)
def test_settings_that_cannot_be(change, message):
    cfg = dict(batch_size=4, dataset=dict(type='ExtractDataset', data_source=dict(type='Digits'), pipeline=TENSOR))
    with pytest.raises(ConfigError, match=message):
        build_loader({**cfg, **change}, seed=0, device=CPU)


def test_samplers_that_cannot_resume_are_refused():
    import mmengine.dataset  # noqa: F401 - registers its samplers

    cfg = dict(batch_size=4, dataset=Counting(), sampler=dict(type='DefaultSampler', shuffle=True))
    with pytest.raises(
        ConfigError, match=r"type='DefaultSampler' cannot continue in the middle of an epoch. Use type='EpochSampler'"
    ):
        build_loader(cfg, seed=0, device=CPU)


def test_settings_of_prefetch():
    with pytest.raises(ConfigError, match=r'Normalize std.0=0.0: must be a number > 0'):
        make(prefetch=True, img_norm_cfg=dict(mean=[0.5], std=[0.0]))
    with pytest.raises(ShapeError, match='img_norm_cfg is for 2 channels; the images have 3'):
        next(iter(make(prefetch=True, img_norm_cfg=dict(mean=[0.5, 0.5], std=[0.5, 0.5]))))
    with pytest.raises(ConfigError, match="A loader needs 'batch_size'; got dataset"):
        build_loader(dict(dataset=Counting()), seed=0, device=CPU)
