"""SparK and FCMAE on images of any number of channels, in real runs too; what is refused, and where."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from selfsup.errors import ConfigError, ShapeError
from selfsup.models.layers.image_channels import image_channels
from selfsup.registry import BACKBONES, MODELS, NECKS, PIPELINES
from selfsup.visualization.reconstruction import evaluation_steps
from tests.hooks.test_reconstruction import STEPS, call
from tests.resume.runs import train, write_config

HEAD = {'type': 'MaskedPixelHead', 'patch_size': 16}
SIZES = {'depths': (1, 1, 1, 1), 'dims': (8, 8, 16, 16)}
BACKBONE = {  # that takes so many channels
    'ours': lambda c: {
        'type': 'ResNet',
        'depth': 18,
        'stage_blocks': (1, 1, 1, 1),
        'base_channels': 8,
        'out_indices': (4,),
        'in_channels': c,
    },
    'convnext': lambda c: {'type': 'ConvNeXtV2', **SIZES, 'in_channels': c},
    'slak': lambda c: {'type': 'SLaK', **SIZES, 'kernel_size': (13, 11, 9, 7, 3), 'in_channels': c},
    'timm': lambda c: {'type': 'TIMMBackbone', 'model_name': 'resnet10t', 'in_channels': c},
}


class Plain(nn.Module):
    """A network of one's own, which says nowhere how many channels it takes."""

    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 16, 4, 4), nn.BatchNorm2d(16))

    def forward(self, x):
        return (self.body(x),)


def build(method, backbone, **changes):
    torch.manual_seed(0)
    own = {'decoder': {'type': 'ConvNeXtV2Decoder', 'width': 16}}
    if method == 'SparK':
        own = {'neck': {'type': 'SparKNeck', 'levels': 1}, 'decoder': {'type': 'LightDecoder', 'width': 32}}
    head = {**HEAD, 'patch_size': 32} if method == 'FCMAE' and not isinstance(backbone, nn.Module) else HEAD
    return MODELS.build({'type': method, 'backbone': backbone, 'head': head, **own, **changes})


def by_hand(prediction, img, visible, p):
    """Loss of one hidden patch after the other."""
    errors = []
    for b, row, column in (~visible).nonzero().tolist():
        for y in range(row * 32, row * 32 + 32, p):
            for x in range(column * 32, column * 32 + 32, p):
                patch = img[b, :, y : y + p, x : x + p].permute(1, 2, 0).flatten()
                target = (patch - patch.mean()) / (patch.var() + 1e-6).sqrt()
                errors.append((prediction[b, y // p, x // p] - target).square().mean())
    return sum(errors) / len(errors)


@pytest.mark.parametrize('method', ['SparK', 'FCMAE'])
@pytest.mark.parametrize('kind', BACKBONE)
@pytest.mark.parametrize('channels', [1, 2, 3, 4, 12])
def test_any_number_of_channels(method, kind, channels):
    """Both paths give the same loss, which is that of the definition, and the same gradients."""
    generator = torch.Generator().manual_seed(1)
    img = torch.randn(2, channels, 64, 96, dtype=torch.float64, generator=generator)
    visible = torch.tensor([[[True, False, True], [False, False, True]], [[False, True, False], [True, False, False]]])
    gradients = []
    for path in ('visible', 'masked'):
        model = build(method, BACKBONE[kind](channels), path=path).double()
        prediction, _ = model.predict_patches(img, visible)
        assert prediction.shape[-1] == model.head.patch_size**2 * channels
        step = model({'img': img, 'visible': visible})
        step.total.backward()
        expected = by_hand(model.predict_patches(img, visible)[0], img, visible, model.head.patch_size)
        torch.testing.assert_close(step.total, expected, rtol=1e-9, atol=1e-12)
        gradients.append({name: p.grad for name, p in model.named_parameters()})
        shown = visible.repeat_interleave(32, 1).repeat_interleave(32, 2)[:, None]
        picture = model.eval().reconstruct(img, visible)
        assert picture.shape == img.shape and torch.allclose(picture * shown, img * shown)
    for name, grad in gradients[0].items():
        assert (grad - gradients[1][name]).abs().max() <= 1e-9 * grad.abs().max() + 1e-13, name
    assert gradients[0][next(n for n in gradients[0] if n.startswith('backbone.'))].abs().max() > 0


@pytest.mark.parametrize('method', ['SparK', 'FCMAE'])
def test_a_network_that_says_nothing_takes_the_channels_of_its_first_convolution(method):
    model = build(method, Plain(5))
    assert model.channels == 5 and math.isfinite(model({'img': torch.randn(2, 5, 64, 64)}).total.item())
    assert image_channels(nn.Flatten()) == 3 and image_channels(BACKBONES.build(BACKBONE['ours'](7))) == 7
    odd = Plain(5)
    odd.in_chans = 0
    with pytest.raises(ConfigError, match='Plain has in_chans=0: give the channels of the images, 1 or more'):
        build(method, odd)


@pytest.mark.parametrize('method', ['SparK', 'FCMAE'])
@pytest.mark.parametrize(('takes', 'given'), [(3, 1), (1, 3), (4, 12), (12, 4)])
def test_images_of_other_channels_are_refused_with_a_way_out(method, takes, given):
    with pytest.raises(
        ShapeError,
        match=rf'for images of {takes} channels?, but these have {given}: set '
        rf'model.backbone.in_channels={given}, or let data.train.pipeline make {takes}\.',
    ):
        build(method, BACKBONE['ours'](takes))({'img': torch.randn(2, given, 64, 64)})
    build(method, BACKBONE['ours'](given))({'img': torch.randn(2, given, 64, 64)})  # the way out


def test_parts_for_other_channels_are_refused():
    def decoder(channels):
        return {'type': 'LightDecoder', 'width': 32, 'out_channels': channels}

    assert build('SparK', BACKBONE['ours'](2), decoder=decoder(2)).decoder.proj.out_channels == 2
    with pytest.raises(
        ConfigError,
        match=r'decoder.out_channels=3, but its backbone takes images of 2 .* or set backbone.in_channels=3',
    ):
        build('SparK', BACKBONE['ours'](2), decoder=decoder(3))
    with pytest.raises(ConfigError, match='out_channels=1, but its backbone takes images of 3'):
        build('SparK', BACKBONE['ours'](3), decoder=NECKS.build({**decoder(1), 'stride': 32}))
    with pytest.raises(ConfigError, match='LightDecoder out_channels=0: must be a whole number >= 1'):
        NECKS.build(decoder(0))


def test_a_patch_of_a_single_number_has_no_standard_deviation():
    img = {'img': torch.randn(2, 1, 64, 64)}
    with pytest.raises(ShapeError, match='patch_size=1 with images of one channel: a patch is a single number'):
        build('SparK', BACKBONE['ours'](1), head={**HEAD, 'patch_size': 1})(img)
    for channels, norm in ((1, False), (2, True)):
        model = build('SparK', BACKBONE['ours'](channels), head={**HEAD, 'patch_size': 1, 'norm_pix': norm})
        assert math.isfinite(model({'img': torch.randn(2, channels, 64, 64)}).total.item())


@pytest.mark.parametrize(
    ('method', 'name'),
    [
        ('SparK', 'vit_tiny_patch16_224'),
        ('FCMAE', 'swin_tiny_patch4_window7_224'),
        ('FCMAE', 'levit_128s'),
        ('SparK', 'visformer_tiny'),
    ],
)
def test_transformers_are_refused_when_the_model_is_built(method, name):
    with pytest.raises(ConfigError, match='masked training needs a convolutional network') as error:
        build(method, {'type': 'TIMMBackbone', 'model_name': name})
    assert '\n' not in str(error.value)


def test_a_timm_model_that_returns_something_else_than_features_is_refused():
    with pytest.raises(ShapeError, match='timm model CoaT returns a list, neither a map nor tokens: set out_indices'):
        BACKBONES.build({'type': 'TIMMBackbone', 'model_name': 'coat_tiny'})


class Summed(Plain):
    """A network with an operation that neither path has a rule for."""

    def forward(self, x):
        return (self.body(x).cumsum(2),)


@pytest.mark.parametrize('method', ['SparK', 'FCMAE'])
@pytest.mark.parametrize('path', ['visible', 'masked'])
def test_the_advice_for_an_operation_without_a_rule_does_not_name_the_other_path(method, path):
    with pytest.raises(ConfigError, match='register_rule') as error:
        build(method, Summed(3), path=path)({'img': torch.randn(2, 3, 64, 64)})
    assert 'path=' not in str(error.value)


# ---- runs


class TwelveChannels:
    """A step of one's own: four times the colours, each darker."""

    def __call__(self, img):
        return torch.cat([img / (i + 1) for i in range(4)])


GREY = (
    "pipeline = [dict(type='RandomResizedCrop', size=16), dict(type='Grayscale'), dict(type='ToTensor'),\n"
    "            dict(type='Normalize', mean=[0.45], std=[0.23])]\n"
)
TWELVE = (
    "pipeline = [dict(type='RandomResizedCrop', size=16), dict(type='ToTensor'), dict(type='TwelveChannels'),\n"
    "            dict(type='Normalize', mean=[0.45] * 12, std=[0.23] * 12)]\n"
)


@pytest.fixture
def twelve_channels():
    PIPELINES.register_module(module=TwelveChannels, force=True)
    yield
    PIPELINES._module_dict.pop('TwelveChannels')


def config_of(folder, method, pipeline, channels):
    path = write_config(folder, method)
    text = path.read_text()
    start, end = text.index('pipeline = ['), text.index('data = dict')
    path.write_text(
        text[:start]
        + pipeline
        + text[end:].replace('total_epochs = 3', 'total_epochs = 1')
        + f"model['backbone']['in_channels'] = {channels}\n"
        + "custom_hooks = [dict(type='ReconstructionHook', num_images=2, interval=1)]\n"
    )
    return path


@pytest.mark.parametrize(
    ('method', 'pipeline', 'channels'), [('SparK', GREY, 1), ('FCMAE', GREY, 1), ('SparK', TWELVE, 12)]
)
def test_a_run_with_pictures(tmp_path, monkeypatch, capsys, twelve_channels, method, pipeline, channels):
    config = config_of(tmp_path, method, pipeline, channels)
    work_dir = train(config, tmp_path / 'work')
    weights = torch.load(work_dir / 'epoch_1.pth', weights_only=True)['state_dict']
    assert weights['backbone.conv1.weight'].shape[1] == channels
    drawn = np.asarray(Image.open(work_dir / 'reconstruction' / 'epoch_1.png').convert('RGB'))
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 20
    call(monkeypatch, config, work_dir / 'epoch_1.pth', tmp_path / 'images' / '000.jpg', '--out', tmp_path / 'grid.png')
    assert (tmp_path / 'grid.png').is_file()


def test_a_hook_whose_images_have_other_channels_is_refused_before_training(tmp_path):
    config = config_of(tmp_path, 'SparK', GREY, 1)
    source = {'type': 'ImageList', 'root': str(tmp_path / 'images'), 'list_file': str(tmp_path / 'images' / 'list.txt')}
    hook = {
        'type': 'ReconstructionHook',
        'dataset': {'type': 'ExtractDataset', 'data_source': source, 'pipeline': STEPS},
    }
    with pytest.raises(
        ConfigError,
        match='ReconstructionHook has images of 3 channels, but the network takes 1: .*set '
        r'model.backbone.in_channels=3; else give the hook dataset=',
    ):
        train(config, tmp_path / 'work', f'custom_hooks={[hook]}')
    assert not list((tmp_path / 'work').glob('*.pth'))


def test_steps_of_ones_own_and_grey_are_kept_for_evaluation(twelve_channels):
    grey, own = {'type': 'Grayscale'}, {'type': 'TwelveChannels'}
    norm = {'type': 'Normalize', 'mean': [0.1] * 12, 'std': [0.2] * 12}
    crop = {'type': 'RandomResizedCrop', 'size': 16}
    assert evaluation_steps([crop, {'type': 'RandomGrayscale'}, grey, {'type': 'ToTensor'}, own, norm])[2:] == [
        grey,
        {'type': 'ToTensor'},
        own,
        norm,
    ]
    assert evaluation_steps([crop, own], {'mean': [0.1], 'std': [0.2]})[2:] == [
        own,
        {'type': 'ToTensor'},
        {'type': 'Normalize', 'mean': [0.1], 'std': [0.2]},
    ]
