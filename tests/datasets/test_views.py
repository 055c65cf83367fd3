"""The picture of what the model sees."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from selfsup.errors import DataError
from selfsup.visualization.views import to_picture, view_grid

ROOT = Path(__file__).resolve().parents[2]
TOOL = str(ROOT / 'tools' / 'show_views.py')


def test_to_picture_undoes_the_normalisation():
    pixels = torch.randint(0, 256, (3, 5, 4), dtype=torch.uint8)
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    view = (pixels / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    assert np.array_equal(to_picture(view, mean, std), pixels.permute(1, 2, 0).numpy())
    assert np.array_equal(to_picture(pixels), pixels.permute(1, 2, 0).numpy())
    assert to_picture(torch.full((1, 2, 2), 9.0)).tolist() == [[[255] * 3] * 2] * 2
    for shape in ((4, 4), (0, 4, 4), (1, 3, 4, 4)):
        with pytest.raises(DataError, match=rf'got \({", ".join(map(str, shape))}\)'):
            to_picture(torch.zeros(shape))


def test_to_picture_shows_the_mean_of_two_channels_and_the_first_three_of_more():
    pixels = torch.randint(0, 256, (12, 5, 4), dtype=torch.uint8)
    mean, std = np.linspace(0.1, 0.8, 12), np.linspace(0.2, 0.4, 12)
    view = (pixels.numpy() / 255 - mean.reshape(-1, 1, 1)) / std.reshape(-1, 1, 1)
    for channels in (4, 12):
        shown = to_picture(view[:channels], mean[:channels], std[:channels])
        assert np.array_equal(shown, pixels[:3].permute(1, 2, 0).numpy())
    two = to_picture(view[:2], mean[:2], std[:2]).astype(float)
    assert np.abs(two - pixels[:2].float().mean(0).numpy()[..., None]).max() <= 0.5


def test_grid_places_every_picture(tmp_path):
    colours = [[(200, 0, 0), (0, 200, 0), (0, 0, 200)], [(90, 0, 0), (0, 90, 0), (0, 0, 90)]]
    rows = [[Image.new('RGB', (8, 8), c) for c in row] for row in colours]
    out = view_grid(
        rows,
        [('image', ''), ('epoch 0', 'view 1'), ('epoch 0', 'view 2')],
        tmp_path / 'new' / 'v.png',
        title='t',
        cell=32,
    )
    picture = np.asarray(Image.open(out))
    for row in colours:
        for colour in row:
            assert (picture == colour).all(axis=-1).sum() == 32 * 32
    ys, xs = np.where((picture == colours[1][2]).all(axis=-1))
    assert ys.max() == picture.shape[0] - 17 and xs.max() < picture.shape[1] - 16  # inside the margin
    with pytest.raises(DataError, match='view_grid: 2 heads, but rows of'):
        view_grid(rows, [('a', ''), ('b', '')], tmp_path / 'x.png')


def test_tool_draws_a_config(tmp_path):
    out = tmp_path / 'views.png'
    options = ['-n', '3', '--epochs', '2', '--out', str(out), '--cfg-options', 'seed=4']
    run = subprocess.run(
        [sys.executable, TOOL, 'configs/quickstart/moco_digits.py', *options], capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == str(out)
    with Image.open(out) as picture:
        assert picture.size[0] > 5 * 112 and picture.size[1] > 3 * 112
        assert len(set(picture.convert('L').getdata())) > 50


def test_help():
    run = subprocess.run([sys.executable, TOOL, '--help'], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0 and '--epochs' in run.stdout
