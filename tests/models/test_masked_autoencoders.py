"""Masks, head and parts of SparK and FCMAE; what they refuse."""

import math

import pytest
import torch
from torch import nn

from selfsup.errors import ConfigError, ShapeError
from selfsup.models.layers.masking import BlockMasking, enlarge, mean_count
from selfsup.models.visible import probe_maps
from selfsup.registry import BACKBONES, HEADS, MODELS, NECKS

RESNET = {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 8}
FOUR = {**RESNET, 'out_indices': (1, 2, 3, 4)}
CONVNEXT = {'type': 'ConvNeXtV2', 'depths': (1, 1, 1, 1), 'dims': (8, 16, 24, 32), 'out_indices': (4,)}
HEAD = {'type': 'MaskedPixelHead'}


def spark(backbone=FOUR, **changes):
    torch.manual_seed(0)
    return MODELS.build(
        {
            'type': 'SparK',
            'backbone': backbone,
            'neck': {'type': 'SparKNeck'},
            'head': HEAD,
            'decoder': {'type': 'LightDecoder', 'width': 32},
            **changes,
        }
    )


def fcmae(backbone=CONVNEXT, **changes):
    torch.manual_seed(0)
    return MODELS.build(
        {
            'type': 'FCMAE',
            'backbone': backbone,
            'decoder': {'type': 'ConvNeXtV2Decoder', 'width': 16},
            'head': HEAD,
            **changes,
        }
    )


# ---- masks ----


@pytest.mark.parametrize(
    ('keep', 'ratio', 'size', 'number'),
    [
        ('round', 0.6, (224, 224), 20),
        ('floor', 0.6, (224, 224), 19),
        ('round', 0.75, (384, 384), 36),
        ('round', 0.5, (64, 160), 5),
    ],
)
def test_every_image_has_the_exact_number_of_visible_blocks(keep, ratio, size, number):
    visible = BlockMasking(ratio, keep, 32).draw(torch.zeros(50, 3, *size))
    assert visible.dtype == torch.bool and visible.shape == (50, size[0] // 32, size[1] // 32)
    assert (visible.sum(dim=(1, 2)) == number).all()
    assert len(visible.flatten(1).unique(dim=0)) > 40  # images differ; of ten blocks there are 252 choices


def test_blocks_are_chosen_evenly_and_by_the_seed():
    masking, images = BlockMasking(0.5, 'round', 8), torch.zeros(4000, 1, 16, 24)
    torch.manual_seed(3)
    visible = masking.draw(images)
    share = visible.float().mean(dim=0)
    assert (share - 0.5).abs().max() < 5 * 0.5 / math.sqrt(4000)  # five standard deviations
    torch.manual_seed(3)
    assert torch.equal(masking.draw(images), visible)
    own = torch.Generator().manual_seed(3)
    assert torch.equal(masking.draw(images, own), visible)
    assert not torch.equal(masking.draw(images, own), visible)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'mask_ratio': 0}, r'mask_ratio=0: must be a number in \(0, 1\)'),
        ({'mask_ratio': 1.0}, r'mask_ratio=1.0: must be a number in \(0, 1\)'),
        ({'keep': 'flor'}, "keep='flor': must be 'round' or 'floor'. Did you mean 'floor'?"),
        ({'block': 0}, 'block=0: must be a whole number >= 1'),
    ],
)
def test_masks_that_cannot_be(changes, message):
    with pytest.raises(ConfigError, match=message):
        spark(**changes)
    with pytest.raises(ConfigError, match=message):
        fcmae(**changes)


@pytest.mark.parametrize(
    ('size', 'message'),
    [
        ((100, 96), r'100 x 96 pixels, but both sides must be multiples of block=32: crop them to 96 x 96'),
        ((8, 64), r'crop them to 32 x 64'),
        ((32, 32), r'mask_ratio=0.6 of 1 blocks leaves 0 visible and 1 hidden: use larger images'),
    ],
)
def test_images_that_do_not_fit(size, message):
    for model in (spark(), fcmae()):
        with pytest.raises(ShapeError, match=message):
            model({'img': torch.zeros(2, 3, *size)})


def test_two_views_are_refused():
    with pytest.raises(ShapeError, match=r'one view per image; got \(2, 2, 3, 64, 64\)'):
        spark()({'img': torch.zeros(2, 2, 3, 64, 64)})


def test_enlarge_and_count():
    cells = torch.tensor([[[True, False]]])
    assert enlarge(cells, 2, 4).tolist() == [[[True, True, False, False]] * 2]
    assert mean_count(cells) == 1


# ---- head ----


def test_patches_are_row_column_channel():
    head = HEADS.build({**HEAD, 'patch_size': 2})
    images = torch.arange(2 * 3 * 4 * 6.0).reshape(2, 3, 4, 6)
    patches = head.patchify(images)
    assert patches.shape == (2, 2, 3, 12)
    expected = [images[1, c, 2 + row, 4 + column].item() for row in range(2) for column in range(2) for c in range(3)]
    assert patches[1, 1, 2].tolist() == expected
    assert torch.equal(head.unpatchify(patches), images)
    with pytest.raises(ShapeError, match='4 x 5 pixels do not divide into patches of patch_size=2'):
        head.patchify(torch.zeros(1, 3, 4, 5))


def test_a_prediction_of_nothing_has_loss_one_and_visible_patches_do_not_count():
    head = HEADS.build({**HEAD, 'patch_size': 8})
    images = torch.randn(3, 3, 16, 16) * 5 + 2
    hidden = head.hidden(images, torch.tensor([[[True, False], [False, False]]] * 3))
    zero = torch.zeros(3, 2, 2, 192)
    loss = head(zero, images, hidden, hidden.sum())['loss']
    assert loss.item() == pytest.approx(191 / 192, rel=1e-5)  # the variance is the unbiased one
    wrong = zero.clone()
    wrong[:, 0, 0] = 1e3
    assert torch.equal(head(wrong, images, hidden, hidden.sum())['loss'], loss)
    assert head(wrong, images, ~hidden, (~hidden).sum())['loss'] > 1e5
    assert head(zero, images, hidden & False, torch.tensor(0))['loss'] == 0  # nothing hidden: no NaN


def test_the_perfect_prediction_gives_the_image_back():
    head = HEADS.build({**HEAD, 'patch_size': 8})
    images = torch.randn(2, 3, 16, 16) * 3 + 1
    patches = head.patchify(images)
    prediction = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    visible = torch.zeros(2, 2, 2, dtype=torch.bool)
    visible[0, 0, 0] = True
    hidden = head.hidden(images, visible)
    assert head(prediction, images, hidden, hidden.sum())['loss'] < 1e-10
    torch.testing.assert_close(head.compose(prediction, images, visible), images)
    half = head.compose(torch.zeros_like(prediction), images, visible)
    assert torch.equal(half[0, :, :8, :8], images[0, :, :8, :8])  # pasted, not predicted
    assert (half[1, :, :8, :8] - images[1, :, :8, :8].mean()).abs().max() < 1e-5  # 0 is the mean of the patch


def test_a_block_of_several_patches():
    head = HEADS.build({**HEAD, 'patch_size': 16})
    hidden = head.hidden(torch.zeros(1, 3, 64, 96), torch.tensor([[[True, False, False], [False, False, True]]]))
    assert hidden.shape == (1, 4, 6) and int((~hidden).sum()) == 8


@pytest.mark.parametrize('norm_pix', [True, False])
def test_loss_in_half_precision_is_computed_in_full(norm_pix):
    head = HEADS.build({**HEAD, 'patch_size': 8, 'norm_pix': norm_pix})
    images = torch.randn(2, 3, 16, 16) * 30 + 100
    hidden = torch.ones(2, 2, 2, dtype=torch.bool)
    prediction = torch.randn(2, 2, 2, 192)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = head(prediction, images, hidden, hidden.sum())['loss']
    assert torch.equal(found, head(prediction, images, hidden, hidden.sum())['loss'])


# ---- parts ----


def test_geometry_of_maps_is_found_without_running_the_network():
    resnet = BACKBONES.build({**RESNET, 'stem': 'cifar', 'out_indices': (2, 3, 4)})
    before = {k: v.clone() for k, v in resnet.state_dict().items()}
    assert probe_maps(resnet) == ((16, 2), (32, 4), (64, 8))
    assert resnet.training and all(torch.equal(before[k], v) for k, v in resnet.state_dict().items())
    assert probe_maps(BACKBONES.build(CONVNEXT)) == ((32, 32),)
    with pytest.raises(ConfigError, match='must take RGB images: ResNet has in_channels=2'):
        probe_maps(BACKBONES.build({**RESNET, 'in_channels': 2}))
    with pytest.raises(ConfigError, match='map of 254 x 254, which is no whole fraction'):
        probe_maps(nn.Sequential(nn.Conv2d(3, 4, 3), Tuple()))


class Tuple(nn.Module):
    """A map as a tuple of one."""

    def forward(self, x):
        return (x,)


def test_sizes_of_the_decoder_and_of_the_projections():
    """Numbers of the reference, for all its networks."""
    decoder = NECKS.build({'type': 'LightDecoder'})
    assert sum(p.numel() for p in decoder.parameters()) == 23_183_115 and len(decoder.state_dict()) == 72
    for channels, number in (
        ((256, 512, 1024, 2048), 6_219_168),
        ((96, 192, 384, 768), 1_742_496),
        ((128, 256, 512, 1024), 3_110_304),
        ((192, 384, 768, 1536), 4_664_736),
    ):
        neck = NECKS.build({'type': 'SparKNeck', 'in_channels': channels, 'norm': 'ln'})
        assert sum(p.numel() for p in neck.projs.parameters()) == number
        assert isinstance(neck.projs[0], nn.Identity) == (channels[-1] == 768)
    assert all(token.abs().max() <= 0.02 for token in neck.mask_tokens) and neck.mask_tokens[0].std() > 0.005


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'backbone': RESNET},
            r'levels=4, but the backbone returns 5 maps with \[8, 8, 16, 32, 64\] channels: .*out_indices=\(1, 2, 3, 4\)',
        ),
        (
            {'backbone': {**RESNET, 'out_indices': (1, 3, 4)}, 'neck': {'type': 'SparKNeck', 'levels': 3}},
            'the backbone ResNet are 4, 16, 32',
        ),
        ({'backbone': {**FOUR, 'stem': 'cifar'}}, 'the backbone ResNet are 1, 2, 4, 8'),
        ({'block': 48}, 'block=48 must be a multiple of the stride of the last map, 32'),
        ({'head': {**HEAD, 'patch_size': 24}}, 'head.patch_size=24'),
        ({'decoder': {'type': 'LightDecoder', 'width': 48}}, 'width=48: it is halved .* use a multiple of 32'),
        ({'backbone': {**FOUR, 'strides': (1, 2, 2, 3)}}, 'the backbone ResNet are 4, 8, 16, 48'),
        ({'neck': {'type': 'SparKNeck', 'norm': 'gn'}}, "norm='gn': must be 'bn', 'ln' or 'none'"),
        ({'path': 'sparse'}, 'sparse'),
    ],
)
def test_parts_that_do_not_fit_spark(changes, message):
    with pytest.raises(ConfigError, match=message):
        spark(**changes)({'img': torch.zeros(2, 3, 64, 64)})


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'head': {**HEAD, 'patch_size': 16}},
            'block=32 must be a multiple of the stride of the last map, 32, and head.patch_size=16',
        ),
        ({'block': 16}, 'block=16 must be a multiple'),
        ({'init': 'std2'}, "init='std2': must be 'std02' or 'release'. Did you mean 'std02'"),
        ({'backbone': {**RESNET, 'out_indices': (4,)}, 'init': 'release'}, "a ResNet needs init='std02'"),
        ({'decoder': {'type': 'ConvNeXtV2Decoder', 'width': 0}}, 'width=0: must be a whole number >= 1'),
    ],
)
def test_parts_that_do_not_fit_fcmae(changes, message):
    with pytest.raises(ConfigError, match=message):
        fcmae(**changes)


def test_initial_weights():
    wide = {**CONVNEXT, 'dims': (64, 64, 64, 64)}
    decoder = {'type': 'ConvNeXtV2Decoder', 'width': 64}
    small, large = fcmae(wide, decoder=decoder), fcmae(wide, decoder=decoder, init='release')
    spread = {
        name: {key: p.std().item() for key, p in model.named_parameters() if p.dim() > 1 and 'grn' not in key}
        for name, model in (('small', small), ('large', large))
    }
    assert all(value == pytest.approx(0.02, rel=0.3) for value in spread['small'].values())
    default = 1 / math.sqrt(3 * 64)  # torch's linear layer of 64 inputs
    for key, value in spread['large'].items():
        expected = (
            0.02
            if key == 'mask_token' or ('downsample_layers' in key and 'layers.0' not in key)
            else default
            if key == 'decoder.0.pwconv1.weight'
            else default / 2
            if key == 'decoder.0.pwconv2.weight'
            else 0.88
        )
        assert value == pytest.approx(expected, rel=0.3), key
    biases = [p for key, p in small.named_parameters() if key.endswith('.bias')]
    assert biases and all(not b.any() for b in biases)
    img = torch.randn(2, 3, 96, 96)
    assert small({'img': img}).total.item() == pytest.approx(1, abs=0.1)
    assert large({'img': img}).total > 3


# ---- both paths ----


@pytest.mark.parametrize('build', [spark, fcmae])
@pytest.mark.parametrize('block', [32, 64])
def test_both_paths_give_the_same(build, block):
    """Loss, gradients and running statistics; images are not square, numbers of blocks not equal."""
    img = torch.randn(2, 3, 128, 192)
    visible = torch.rand(2, 128 // block, 192 // block, generator=torch.Generator().manual_seed(1)) < 0.4
    visible[:, 0, 0] = True
    visible[0, 1] = True
    results = []
    for path in ('visible', 'masked'):
        model = build(path=path, block=block)
        step = model({'img': img, 'visible': visible})
        step.total.backward()
        results.append((step, dict(model.named_parameters()), model.state_dict()))
    (one, params, state), (other, their_params, their_state) = results
    torch.testing.assert_close(one.total, other.total, rtol=1e-5, atol=0)
    torch.testing.assert_close(one.embedding, other.embedding, rtol=1e-4, atol=1e-5)
    for key, p in params.items():
        assert (p.grad - their_params[key].grad).abs().max() <= 1e-3 * p.grad.abs().max() + 1e-8, key
    for key, value in state.items():
        torch.testing.assert_close(value, their_state[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('build', [spark, fcmae])
def test_hidden_pixels_are_not_looked_at(build):
    model, img = build(), torch.randn(2, 3, 64, 96)
    visible = BlockMasking().draw(img)
    shown = enlarge(visible, 64, 96)[:, None]
    model.eval()
    with torch.no_grad():
        one, _ = model.predict_patches(img, visible)
        other, _ = model.predict_patches(torch.where(shown, img, 9.0), visible)
        third, _ = model.predict_patches(torch.where(shown, img + 1, img), visible)
    assert torch.equal(one, other) and not torch.equal(one, third)


@pytest.mark.parametrize('build', [spark, fcmae])
def test_pictures(build):
    model, img = build().eval(), torch.randn(2, 3, 64, 64)
    visible = BlockMasking().draw(img)
    picture = model.reconstruct(img, visible)
    shown = enlarge(visible, 64, 64)[:, None].expand_as(img)
    assert not picture.requires_grad
    torch.testing.assert_close(picture[shown], img[shown])
    assert torch.isfinite(picture).all() and (picture[~shown] != img[~shown]).float().mean() > 0.99


@pytest.mark.parametrize('build', [spark, fcmae])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision(build, dtype):
    """Bright images, whose activations do not fit float16 when squared: finite, and near the loss in full precision."""
    model, img = build(), torch.randn(4, 3, 96, 96) * 60 + 200
    visible = BlockMasking().draw(img)
    with torch.autocast('cpu', dtype=dtype):
        step = model({'img': img, 'visible': visible})
    (step.total * 1024).backward()  # what a loss scaler does against gradients too small for float16
    assert step.total.dtype == torch.float32
    assert all(torch.isfinite(p.grad).all() and p.grad.abs().max() > 0 for p in model.parameters())
    assert step.total.item() == pytest.approx(model({'img': img, 'visible': visible}).total.item(), rel=0.02)
