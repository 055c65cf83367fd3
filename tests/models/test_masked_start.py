"""What SparK and FCMAE find out about a backbone when they are built, before there is an image."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from selfsup.errors import ConfigError, ShapeError
from selfsup.models.necks.light_decoder import LightDecoder
from selfsup.models.visible import check_masked, probe_maps
from selfsup.registry import BACKBONES, MODELS, NECKS

from .visible_cases import plain, ragged, randomised


class Stages(nn.Module):
    """A small network whose maps have the given strides, with one more layer before the last map."""

    def __init__(self, strides=(4, 8), extra=None, channels=3):
        super().__init__()
        self.parts, before = nn.ModuleList(), (channels, 1)
        for i, stride in enumerate(strides):
            step = stride // before[1]
            kernel = 3 if step == 2 else step
            self.parts.append(
                nn.Sequential(
                    nn.Conv2d(before[0], 8 << i, kernel, step, kernel // 2 if step == 2 else 0),
                    nn.BatchNorm2d(8 << i),
                    nn.ReLU(inplace=True),
                    nn.Dropout(0.5),
                )
            )
            before = 8 << i, stride
        self.extra = nn.Identity() if extra is None else extra

    def forward(self, x):
        maps = []
        for part in self.parts:
            x = part(x)
            maps.append(x)
        return (*maps[:-1], self.extra(maps[-1]))


def model(name, backbone, block, levels):
    decoder = {'SparK': {'type': 'LightDecoder', 'width': 32}, 'FCMAE': {'type': 'ConvNeXtV2Decoder', 'width': 16}}[
        name
    ]
    neck = {'neck': {'type': 'SparKNeck', 'levels': levels}} if name == 'SparK' else {}
    return MODELS.build(
        {
            'type': name,
            'backbone': backbone,
            'block': block,
            'decoder': decoder,
            **neck,
            'head': {'type': 'MaskedPixelHead', 'patch_size': probe_maps(backbone)[-1].stride},
        }
    )


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return x + self.layer(tokens, tokens, tokens)[0].transpose(1, 2).reshape(x.shape)


class Sums(nn.Module):
    def forward(self, x):
        return x.cumsum(1)


class OnlyInTraining(nn.Module):
    def forward(self, x):
        return x.cumsum(1) if self.training else x


class Windows(nn.Module):
    def forward(self, x):
        if x.shape[-1] % 3:
            raise ValueError('windows of 3')
        return x


STARTS = [
    (Attention(), 'MultiheadAttention.*needs a convolutional network'),
    (OnlyInTraining(), r'no rule for Tensor\.cumsum in backbone\.extra'),
    (Sums(), r'no rule for Tensor\.cumsum in backbone\.extra \(Sums\)'),
    (Windows(), r'windows of 3 in extra \(Windows\).*convolutional'),
    (nn.AvgPool2d(2, 1), 'no whole fraction|multiple of the stride'),
]


@pytest.mark.parametrize('name', ['SparK', 'FCMAE'])
@pytest.mark.parametrize('number', range(len(STARTS)))
def test_what_cannot_train_is_refused_when_it_is_built(name, number):
    extra, message = STARTS[number]
    with pytest.raises(ConfigError, match=message) as caught:
        model(name, Stages(extra=extra), 16, 2)
    assert '\n' not in str(caught.value)


def state(net):
    return {**{k: v.clone() for k, v in net.state_dict().items()}, 'modes': [m.training for m in net.modules()]}


@pytest.mark.parametrize('path', ['visible', 'masked'])
def test_the_rehearsal_changes_nothing(path):
    net = Stages()
    net.parts[1][1].eval()
    net.register_buffer('steps', torch.zeros(1), persistent=False)
    net.parts[0][0].register_forward_hook(lambda *_: (net.steps.add_(1), None)[1])  # a buffer that a pass moves
    before, generator = state(net), torch.get_rng_state()
    check_masked(net, 16, path)
    after = state(net)
    assert after['modes'] == before['modes']
    assert all(torch.equal(after[k], v) for k, v in before.items() if k != 'modes')
    assert int(net.parts[0][1].num_batches_tracked) == 0 and float(net.steps) == 0
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(p.grad is None for p in net.parameters())


def test_a_rehearsal_that_fails_changes_nothing_either():
    net = Stages(extra=Sums())
    before, generator = state(net), torch.get_rng_state()
    with pytest.raises(ConfigError, match='cumsum'):
        check_masked(net, 16)
    assert state(net)['modes'] == before['modes'] and torch.equal(torch.get_rng_state(), generator)


def test_images_of_any_number_of_channels():
    for channels in (1, 2, 4, 12):
        net = Stages(channels=channels)
        assert probe_maps(net, channels) == ((8, 4), (16, 8))
        check_masked(net, 16, channels=channels)
    with pytest.raises(ConfigError, match='cannot take RGB images of 256 x 256 pixels'):
        probe_maps(Stages(channels=1))


def test_pooling_into_regions():
    with pytest.raises(ConfigError, match=r'regions hold hidden and visible positions alike'):
        check_masked(nn.Sequential(Stages(extra=nn.AdaptiveAvgPool2d(2))), 128)


def test_a_network_of_timm_that_returns_several_outputs():
    pytest.importorskip('timm')
    with pytest.raises(ShapeError, match='neither a map nor tokens: set out_indices'):
        BACKBONES.build({'type': 'TIMMBackbone', 'model_name': 'efficientvim_m1'})


STRIDES = [(7,), (14,), (3, 6, 12), (6, 12), (5, 10, 20), (11,), (37,)]


@pytest.mark.parametrize('strides', STRIDES, ids=str)
def test_strides_that_do_not_divide_the_imagined_image(strides):
    assert [found.stride for found in probe_maps(Stages(strides))] == list(strides)


@pytest.mark.parametrize(
    'layers',
    [
        [nn.Conv2d(3, 4, 3, 2)],
        [nn.Conv2d(3, 4, 7, 7, 3)],
        [nn.Conv2d(3, 4, 8, 7)],
        [nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 7, 7)],
        [nn.Conv2d(3, 4, 5, 4)],
    ],
)
def test_maps_that_are_no_whole_fraction_stay_refused(layers):
    """Without padding, or with too much of it."""
    net = nn.Sequential(*layers)
    # More than is needed: the map is a fraction all the same.
    if layers[0].kernel_size == (7, 7) and layers[0].padding == (3, 3):
        assert probe_maps(net) == ((4, 7),)
        return
    with pytest.raises(ConfigError, match='needs a network with padding'):
        probe_maps(net)


@pytest.mark.parametrize(
    ('name', 'strides', 'block', 'size'),
    [
        ('SparK', (7,), 14, (28, 42)),
        ('SparK', (14,), 14, (28, 42)),
        ('SparK', (3, 6, 12), 12, (24, 36)),
        ('FCMAE', (7,), 7, (21, 28)),
        ('FCMAE', (6, 12), 24, (48, 72)),
    ],
)
def test_training_with_such_strides(name, strides, block, size):
    torch.manual_seed(0)
    net = randomised(model(name, Stages(strides), block, len(strides)))
    img, visible = plain(2, 3, *size), ragged(2, size[0] // block, size[1] // block)
    results = []
    for path in ('visible', 'masked'):
        copied = copy.deepcopy(net)
        copied.path = path
        for module in copied.modules():
            module.p = 0.0 if isinstance(module, nn.Dropout) else getattr(module, 'p', None)
        loss = copied.loss(img, visible).losses['loss']
        loss.backward()
        results.append((loss.detach(), copied.backbone.parts[0][0].weight.grad))
    torch.testing.assert_close(*(loss for loss, _ in results), rtol=1e-12, atol=0)
    torch.testing.assert_close(*(grad for _, grad in results), rtol=1e-7, atol=1e-10 * float(results[1][1].abs().max()))
    assert float(results[1][1].abs().max()) > 0
    assert net.eval().reconstruct(img, visible).shape == img.shape


@pytest.mark.parametrize(
    ('stride', 'kernels'), [(32, [4] * 5), (8, [4] * 3), (7, [9]), (14, [4, 9]), (12, [4, 4, 5]), (90, [4, 5, 5, 7])]
)
def test_the_decoder_goes_up_by_the_prime_factors(stride, kernels):
    decoder = LightDecoder(width=64, stride=stride)
    assert [block.up.kernel_size[0] for block in decoder.blocks] == kernels
    assert decoder([torch.zeros(2, 64, 2, 3)]).shape == (2, 3, 2 * stride, 3 * stride)


def test_a_decoder_that_does_not_fit():
    with pytest.raises(ConfigError, match='stride=1: must be a whole number >= 2'):
        NECKS.build({'type': 'LightDecoder', 'stride': 1})
    with pytest.raises(ConfigError, match='width=33: it is halved 2 times from a stride of 14 on; use a multiple of 4'):
        NECKS.build({'type': 'LightDecoder', 'stride': 14, 'width': 33})


def test_an_enlargement_starts_from_every_position():
    """Each input position reaches the outputs that are its own, and neighbours overlap by two pixels."""
    up = LightDecoder(width=8, stride=7).blocks[0].up
    with torch.no_grad():
        up.weight.fill_(1.0)
        up.bias.zero_()
        x = F.pad(torch.ones(1, 8, 1, 1), (1, 1, 1, 1))
        reached = (up(x)[0, 0] > 0).nonzero()
    assert reached.min(0).values.tolist() == [6, 6] and reached.max(0).values.tolist() == [14, 14]
