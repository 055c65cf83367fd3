"""Pictures of reconstructions: the grid, the hook in a real run, the tool on its checkpoint."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from selfsup.errors import ConfigError, DataError, ShapeError
from selfsup.visualization.reconstruction import HIDDEN, normalisation, reconstruction_grid
from tests.resume.runs import differences, train, write_config

TOOL = Path(__file__).parents[2] / 'tools' / 'show_reconstruction.py'
STEPS = [
    dict(type='Resize', size=(16, 16)),
    dict(type='ToTensor'),
    dict(type='Normalize', mean=[0.5] * 3, std=[0.3] * 3),
]


def colours(path):
    return {colour for _, colour in Image.open(path).convert('RGB').getcolors(1 << 24)}


def test_grid_shows_grey_where_hidden_and_the_reconstruction(tmp_path):
    images, pictures = torch.full((2, 3, 16, 16), 1.0), torch.full((2, 3, 16, 16), -1.0)
    visible = torch.tensor([[[True, False], [True, True]], [[False, True], [True, True]]])
    path = reconstruction_grid(images, visible, pictures, tmp_path / 'a' / 'x.png', (0.5,), (0.3,), title='T', cell=64)
    assert {(204,) * 3, (HIDDEN,) * 3, (51,) * 3} <= colours(path)
    everything = reconstruction_grid(
        images, torch.ones_like(visible), pictures, tmp_path / 'y.png', (0.5,), (0.3,), cell=64
    )
    grey = np.asarray(Image.open(path).convert('RGB')) == HIDDEN
    assert (
        grey.all(-1).sum() - (np.asarray(Image.open(everything).convert('RGB')) == HIDDEN).all(-1).sum()
        >= 2 * 32 * 32 - 200
    )


def test_normalisation_is_read_from_configs():
    assert normalisation(STEPS) == ([0.5] * 3, [0.3] * 3)
    assert normalisation(STEPS[:2], {'mean': [0.1], 'std': [0.2]}) == ([0.1], [0.2])
    assert normalisation([]) == ((0.0,), (1.0,))


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Work dirs of a SparK run with and without pictures, and its config."""
    folder = tmp_path_factory.mktemp('spark')
    config = write_config(folder, 'SparK')
    source = dict(type='ImageList', root=str(folder / 'images'), list_file=str(folder / 'images' / 'list.txt'))
    hook = dict(
        type='ReconstructionHook',
        num_images=3,
        interval=2,
        initial=True,
        dataset=dict(type='ExtractDataset', data_source=source, pipeline=STEPS),
    )
    return train(config, folder / 'with', f'custom_hooks={[hook]}'), train(config, folder / 'plain'), config


def test_the_hook_draws_and_logs_and_changes_nothing(run):
    with_hook, plain, _ = run
    assert sorted(p.name for p in (with_hook / 'reconstruction').iterdir()) == [
        'epoch_0.png',
        'epoch_2.png',
        'epoch_3.png',
    ]
    assert (with_hook / 'reconstruction' / 'epoch_0.png').read_bytes() != (
        with_hook / 'reconstruction' / 'epoch_3.png'
    ).read_bytes()
    lines = [json.loads(x) for f in with_hook.glob('*/vis_data/2*.json') for x in f.read_text().splitlines()]
    losses = [x['reconstruction_loss'] for x in lines if 'reconstruction_loss' in x]
    assert len(losses) == 3 and all(0 < x < 10 for x in losses)
    assert differences(with_hook / 'epoch_3.pth', plain / 'epoch_3.pth') == []
    events = next(with_hook.rglob('events.out.tfevents*')).read_bytes()
    assert events.count(b'PNG') >= 3


def test_the_hook_refuses_other_methods_and_no_images(tmp_path):
    hook = dict(
        type='ReconstructionHook', dataset=dict(type='ExtractDataset', data_source=dict(type='Digits'), pipeline=STEPS)
    )
    with pytest.raises(ConfigError, match='SimCLR reconstructs nothing: remove the hook'):
        train(write_config(tmp_path, 'SimCLR'), tmp_path / 'work', f'custom_hooks={[hook]}')
    with pytest.raises(ConfigError, match=r'num_images=0 .*must be a whole number >= 1'):
        train(write_config(tmp_path, 'SparK'), tmp_path / 'work', f'custom_hooks={[{**hook, "num_images": 0}]}')


def test_without_a_dataset_the_training_images_are_drawn_and_checked_before_training(tmp_path):
    config = write_config(tmp_path, 'SparK')
    work_dir = train(
        config, tmp_path / 'work', "custom_hooks=[dict(type='ReconstructionHook', num_images=2)]", 'total_epochs=1'
    )
    assert (work_dir / 'reconstruction' / 'epoch_1.png').is_file()
    bad = dict(
        type='ReconstructionHook',
        dataset=dict(
            type='ExtractDataset',
            data_source=dict(type='Digits'),
            pipeline=[dict(type='Resize', size=(17, 17)), *STEPS[1:]],
        ),
    )
    with pytest.raises(ShapeError, match='17 x 17'):
        train(config, tmp_path / 'bad', f'custom_hooks={[bad]}')
    assert not list((tmp_path / 'bad').glob('*.pth'))


def call(monkeypatch, *args):
    monkeypatch.setattr(sys, 'argv', ['show_reconstruction', *map(str, args)])
    runpy.run_path(str(TOOL))['main']()


def test_the_tool(run, monkeypatch, capsys, tmp_path):
    work_dir, _, config = run
    images = sorted((config.parent / 'images').glob('*.jpg'))[:2]
    call(monkeypatch, config, work_dir / 'epoch_3.pth', *images)
    assert capsys.readouterr().out.strip().endswith(str(work_dir / 'reconstruction.png'))
    with Image.open(work_dir / 'reconstruction.png') as two:
        call(
            monkeypatch,
            config,
            work_dir / 'epoch_3.pth',
            *images,
            images[0],
            '--out',
            tmp_path / 'three.png',
            '--size',
            24,
            '--seed',
            5,
        )
        assert Image.open(tmp_path / 'three.png').height > two.height
    with pytest.raises(DataError, match=r'no\.jpg cannot be read as an image'):
        call(monkeypatch, config, work_dir / 'epoch_3.pth', tmp_path / 'no.jpg')
    other = write_config(tmp_path, 'SimCLR')
    with pytest.raises(ConfigError, match='trains SimCLR, which reconstructs nothing'):
        call(monkeypatch, other, work_dir / 'epoch_3.pth', images[0])
