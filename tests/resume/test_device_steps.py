"""Runs whose device makes the views: exact when resumed, near to the reference, and not mixed with runs whose workers do."""

import pytest
import torch

from selfsup.errors import CheckpointError

from .changed_runs import equal, table
from .runs import train, write_config

EVERY = ('checkpoint_config.by_epoch=False', 'total_epochs=1')  # 6 iterations
DEVICE = "prefetch={'augment_on_device': True}"
IMAGES = "prefetch={'augment_on_device': True, 'images_on_device': True}"


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp('device'))


def run(config, folder, *options, **how):
    return train(config, folder, *EVERY, *options, curves=False, **how)


def end_of(work_dir, iteration=6):
    return torch.load(work_dir / f'iter_{iteration}.pth', weights_only=True)


@pytest.mark.parametrize('prefetch', [DEVICE, IMAGES], ids=['augment', 'images'])
def test_a_resumed_run_ends_in_the_same_bytes(config, tmp_path, prefetch):
    straight = end_of(run(config, tmp_path / 'straight', prefetch))
    checkpoint = str(run(config, tmp_path / 'stopped', prefetch, stop_after=3) / 'iter_3.pth')
    for workers in (0, 1):
        resumed = run(
            config, tmp_path / f'{workers}', prefetch, f'data.workers_per_gpu={workers}', resume_from=checkpoint
        )
        assert equal(end_of(resumed), straight)


def test_where_steps_run_belongs_to_a_run(config, tmp_path):
    checkpoint = str(run(config, tmp_path / 'stopped', 'prefetch=True', stop_after=3) / 'iter_3.pth')
    with pytest.raises(
        CheckpointError, match=r'prefetch.augment_on_device was False and is True \(set .*--allow-changed prefetch'
    ):
        run(config, tmp_path / 'refused', DEVICE, resume_from=checkpoint)
    with pytest.raises(CheckpointError, match=r'prefetch.images_on_device was False and is True'):
        run(config, tmp_path / 'refused', IMAGES, resume_from=checkpoint)
    run(
        config, tmp_path / 'same', "prefetch={'augment_on_device': False}", resume_from=checkpoint
    )  # another word for True
    allowed = run(config, tmp_path / 'allowed', DEVICE, resume_from=checkpoint, allow_changed=['prefetch'])
    assert [line.split()[0] for line in table(allowed)[1:2]] == ['prefetch.augment_on_device']
