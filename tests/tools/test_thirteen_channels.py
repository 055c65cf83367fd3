"""From a folder of 13-channel TIFFs with 16 bits to pretrained and exported weights, with the tools alone."""

from __future__ import annotations

import ast

import numpy as np
import pytest
import torch
from PIL import Image

from selfsup.errors import ConfigError, ShapeError
from selfsup.evaluation.results.record import read_result
from tests.resume.runs import differences

tifffile = pytest.importorskip('tifffile')
CHANNELS, TOP, SIDE = 13, 10000, 40
BACKBONE = (
    "dict(type='ResNet', depth=18, stage_blocks=(1, 1, 1, 1), base_channels=8, in_channels=13, "
    'out_indices={out}, frozen_stages={frozen})'
)
METHODS = {
    'moco': (
        'ContrastiveDataset',
        "dict(type='MOCO', backbone={backbone}, neck=dict(type='LinearNeck', in_channels=64, out_channels=8),"
        " head=dict(type='ContrastiveHead', temperature=0.2), queue_len=8, feat_dim=8)",
    ),
    'simclr': (
        'ContrastiveDataset',
        "dict(type='SimCLR', backbone={backbone}, head=dict(type='ContrastiveHead', temperature=0.2),"
        " neck=dict(type='NonLinearNeckSimCLR', in_channels=64, hid_channels=16, out_channels=8, sync_bn=False))",
    ),
    'spark': (
        'ExtractDataset',
        "dict(type='SparK', backbone={backbone}, neck=dict(type='SparKNeck', levels=1),"
        " decoder=dict(type='LightDecoder', width=32), head=dict(type='MaskedPixelHead', patch_size=32))",
    ),
}
CLASSIFIER = (
    "dict(type='Classification', backbone={backbone},"
    " head=dict(type='ClsHead', in_channels=64, num_classes=2, with_avg_pool=True))"
)
CONFIG = """model = {model}
source = dict(type='ImageFolder', root={root!r}, channels=13, value_range=(0, 10000))
norm = dict(type='Normalize', mean={mean}, std={std})
pipeline = [
    dict(type='RandomResizedCrop', size=64),
    dict(type='RandomHorizontalFlip'),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4),
    dict(type='RandomAppliedTrans', transforms=[dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0)], p=0.5),
    dict(type='ToTensor'),
    norm,
]
whole = dict(type='ClassificationDataset', data_source=source, pipeline=[dict(type='Resize', size=64), dict(type='ToTensor'), norm])
data = dict(imgs_per_gpu=4, workers_per_gpu=0, train=dict(type='{dataset}', data_source=source, pipeline=pipeline), val=whole)
optimizer = dict(type='SGD', lr=0.05)
lr_config = dict(policy='fixed')
checkpoint_config = dict(interval=1)
total_epochs = 2
"""


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Eight images of two classes; red is bright at the left, green at the top, blue where the class says."""
    root = tmp_path_factory.mktemp('bands') / 'images'
    y, x = np.mgrid[:SIDE, :SIDE] / (SIDE - 1)
    for number in range(8):
        bands = np.random.RandomState(number).rand(CHANNELS, SIDE, SIDE) * 0.2
        bands[3], bands[2], bands[1] = 1 - x, 1 - y, (x if number % 2 else y) * 0.5
        path = root / ('field' if number % 2 else 'water') / f'{number}.tif'
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, (bands * TOP).astype(np.uint16), photometric='minisblack', planarconfig='separate')
    return root


def write(folder, images, name, mean=(0.3,) * CHANNELS, std=(0.2,) * CHANNELS, dataset=None, out=(4,), frozen=-1):
    dataset, model = METHODS.get(name, (dataset, CLASSIFIER))
    model = model.format(backbone=BACKBONE.format(out=out, frozen=frozen))
    path = folder / f'{name}.py'
    path.write_text(CONFIG.format(model=model, root=str(images), dataset=dataset, mean=list(mean), std=list(std)))
    return path


def measured(call, config):
    """The statistics that doctor gives for a config that has wrong ones yet."""
    line = call('doctor', config, '--stats').strip().splitlines()[-1]
    arguments = ast.parse(line).body[0].value.keywords
    return {keyword.arg: ast.literal_eval(keyword.value) for keyword in arguments}


def test_what_is_missing_is_said_before_training(tmp_path, images, call):
    config = write(tmp_path, images, 'moco', mean=(0.5,) * 3, std=(0.2,) * 3)
    with pytest.raises(
        ConfigError, match=r'Normalize: mean has 3 numbers and std 3, but the images have 13.*doctor.py CONFIG'
    ):
        call('train', config, '--work_dir', tmp_path / 'work')
    statistics = measured(call, config)
    pixels = np.stack([tifffile.imread(path) for path in images.rglob('*.tif')]) / TOP
    np.testing.assert_allclose(statistics['mean'], pixels.mean((0, 2, 3)), rtol=1e-3)
    np.testing.assert_allclose(statistics['std'], pixels.std((0, 2, 3)), rtol=1e-3)
    config = write(tmp_path, images, 'moco', **statistics)
    config.write_text(config.read_text().replace('in_channels=13, ', ''))
    with pytest.raises(
        ShapeError, match=r'have 13 channels, but the backbone takes 3: set model.backbone.in_channels=13'
    ):
        call('train', config, '--work_dir', tmp_path / 'work')
    config = write(tmp_path, images, 'moco', **statistics)
    config.write_text(config.read_text().replace('contrast=0.4', 'contrast=0.4, saturation=0.4'))
    with pytest.raises(
        ConfigError, match=r'pipeline: ColorJitter needs RGB images \(3 channels\); these have 13: leave out'
    ):
        call('train', config, '--work_dir', tmp_path / 'work')
    assert not list(tmp_path.rglob('*.pth'))


@pytest.mark.parametrize('method', METHODS)
def test_from_images_to_exported_weights(tmp_path, images, call, method):
    config = write(tmp_path, images, method)
    call('train', config, '--work_dir', tmp_path / 'straight')
    checkpoint = tmp_path / 'straight' / 'epoch_2.pth'
    weights = torch.load(checkpoint, weights_only=True)
    assert weights['state_dict']['backbone.conv1.weight'].shape == (8, CHANNELS, 7, 7)
    assert weights['meta']['iter'] == 4

    call('train', config, '--work_dir', tmp_path / 'resumed', '--resume_from', tmp_path / 'straight' / 'epoch_1.pth')
    assert not differences(checkpoint, tmp_path / 'resumed' / 'epoch_2.pth')

    extracted = tmp_path / 'backbone.pth'
    call('extract_backbone_weights', checkpoint, extracted)
    data = tmp_path / 'data.py'
    data.write_text(config.read_text() + '\ntrain = test = whole\n')
    call('knn', config, '--pretrained', extracted, '--dataset-config', data, '--k', '1', '--work_dir', tmp_path)
    assert read_result(tmp_path / 'knn.json')['numbers']['knn_1'] == 100  # each image is its own neighbour
    linear = write(tmp_path, images, 'linear', dataset='ClassificationDataset', frozen=4)
    call('train', linear, '--pretrained', extracted, '--protocol', 'linear', '--work_dir', tmp_path / 'linear')
    frozen = torch.load(tmp_path / 'linear' / 'epoch_2.pth', weights_only=True)['state_dict']
    assert torch.equal(frozen['backbone.conv1.weight'], weights['state_dict']['backbone.conv1.weight'])
    call('linear_cached', linear, '--pretrained', extracted, '--work_dir', tmp_path / 'cached')
    assert (tmp_path / 'cached' / 'linear_cached.json').is_file()
    told = call(
        'convert',
        checkpoint,
        tmp_path / 'o.safetensors',
        '--to',
        'safetensors',
        '--config',
        config,
        '--check',
        '--size',
        '64',
    )
    assert 'in_channels=13' in told

    call('show_views', config, '-n', 4, '--epochs', 1, '--channels', 3, 2, 1, '--out', tmp_path / 'views.png')
    picture = np.asarray(Image.open(tmp_path / 'views.png').convert('RGB')).astype(int)
    assert (picture[..., 0] - picture[..., 1]).max() > 150  # red at the left, green at the top
    if method == 'spark':
        some = sorted(images.rglob('*.tif'))[:2]
        call('show_reconstruction', config, checkpoint, *some, '--channels', 3, 2, 1, '--out', tmp_path / 'grid.png')
        assert (tmp_path / 'grid.png').is_file()
