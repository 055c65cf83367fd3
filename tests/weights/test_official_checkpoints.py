"""Files of the official SparK, FCMAE and ConvNeXt code, of timm, and what is said about them."""

import logging
import warnings
from argparse import Namespace

import pytest
import torch

from selfsup.errors import CheckpointError, SelfSupWarning
from selfsup.models.backbones import ConvNeXt, ConvNeXtV2, ResNet, SLaK, TIMMBackbone
from selfsup.registry import MODELS
from selfsup.weights.extract import backbone_weights, extract_backbone
from selfsup.weights.families import convnext
from selfsup.weights.load import NO_SUCH, load_backbone, load_model

from .networks import GOLDEN, SIZE, Holder, assert_equal, golden, loaded

ALL_STAGES = (1, 2, 3, 4)


# ---- FCMAE ----


def test_fcmae_training_file_gives_the_official_dense_weights():
    backbone = ConvNeXtV2(**SIZE)
    report = loaded(backbone, GOLDEN / 'fcmae_model.pt')
    assert_equal(backbone, golden('fcmae_dense')['model'])
    assert len(report.loaded) == 66 and not report.missing and not report.partial and 'FCMAE' in report.origin
    assert len(report.unused) == 15 and {'mask_token', 'proj.weight', 'decoder.0.grn.gamma', 'pred.bias'} <= set(
        report.unused
    )


def test_fcmae_encoder_alone_and_with_the_command_line(tmp_path):
    """A file as the official code writes it, its arguments included, and one without the prefix."""
    weights = golden('fcmae_model')['model']
    torch.save(
        {'model': weights, 'epoch': 5, 'args': Namespace(blr=1.5e-4, model='convnextv2_atto')},
        tmp_path / 'checkpoint-5.pth',
    )
    bare = {name.removeprefix('encoder.'): value for name, value in weights.items() if name.startswith('encoder.')}
    torch.save(bare, tmp_path / 'bare.pth')
    for name in ('checkpoint-5', 'bare'):
        backbone = ConvNeXtV2(**SIZE)
        loaded(backbone, tmp_path / f'{name}.pth')
        assert_equal(backbone, golden('fcmae_dense')['model'])


def test_fcmae_release_layout_with_flat_grn(tmp_path):
    weights = golden('fcmae_dense')['model']
    flat = {name: value.reshape(1, -1) if '.grn.' in name else value for name, value in weights.items()}
    torch.save({'model': flat}, tmp_path / 'convnextv2_fcmae.pt')
    backbone = ConvNeXtV2(**SIZE)
    assert len(loaded(backbone, tmp_path / 'convnextv2_fcmae.pt').loaded) == 66
    assert_equal(backbone, weights)


def test_fine_tuned_file_with_and_without_its_classifier():
    content = golden('convnextv2_cls')
    report = loaded(ConvNeXtV2(**SIZE), GOLDEN / 'convnextv2_cls.pt')
    assert len(report.loaded) == 66 and set(report.unused) == {'norm.weight', 'norm.bias', 'head.weight', 'head.bias'}
    whole = ConvNeXtV2(**SIZE, num_classes=10).eval()
    assert not loaded(whole, GOLDEN / 'convnextv2_cls.pt').unused
    torch.testing.assert_close(whole.classify(content['input']), content['logits'], rtol=1e-4, atol=1e-5)


# ---- SparK ----


@pytest.mark.parametrize('frame', ['with decoder', 'bare', 'wrapped', 'distributed'])
def test_spark_convnext_files(frame, tmp_path):
    bare = golden('spark_convnext_timm_style')
    if frame == 'with decoder':
        path = GOLDEN / 'spark_convnext_model.pt'
    else:
        path = tmp_path / 'x.pth'
        torch.save(
            {
                'bare': bare,
                'wrapped': {'arch': 'convnext_small', 'module': bare, 'is_pretrain': True},
                'distributed': {f'module.{name}': value for name, value in bare.items()},
            }[frame],
            path,
        )
    backbone = ConvNeXt(**SIZE)
    report = loaded(backbone, path)
    assert_equal(backbone, bare)
    assert not report.missing
    if frame == 'with decoder':
        assert {name for name in report.unused if 'constant' in report.unused[name]} == {'imn_m', 'imn_s', 'norm_black'}
        assert 'decoder.blocks.0.up.weight' in report.unused


def test_spark_convnext_into_timm():
    backbone = TIMMBackbone('convnext_small', **SIZE, out_indices=(0, 1, 2, 3))
    report = loaded(backbone, GOLDEN / 'spark_convnext_model.pt')
    assert set(report.missing) == {'model.head.norm.weight', 'model.head.norm.bias'}  # which the maps do not pass
    ours = ConvNeXt(**SIZE, out_indices=ALL_STAGES)
    loaded(ours, GOLDEN / 'spark_convnext_model.pt')
    x = torch.randn(1, 3, 64, 64)
    for a, b in zip(ours.eval()(x), backbone.eval()(x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('name', 'model', 'layers', 'channels'),
    [('basic', 'resnet18', (1, 1, 1, 1), (8, 16, 32, 64)), ('bottleneck', 'resnet50', (1, 2, 1, 1), (4, 8, 8, 16))],
)
def test_spark_resnets_into_timm(name, model, layers, channels):
    backbone = TIMMBackbone(model, layers=layers, channels=channels, out_indices=ALL_STAGES)
    report = loaded(backbone, GOLDEN / f'spark_{name}_model.pt')
    assert not report.missing
    official = golden(f'spark_{name}_model')['module']
    encoder = 'sparse_encoder.sp_cnn.'
    assert_equal(
        backbone.model, {name[len(encoder) :]: value for name, value in official.items() if name.startswith(encoder)}
    )


# ---- SLaK ----


def slak(name='decom', **kwargs):
    """The network of a golden file, untrained, without a classifier, and the file's weights."""
    c = golden(f'slak_{name}_golden')['config']
    sizes = {
        'depths': c['depths'],
        'dims': c['dims'],
        'width_factor': c['width_factor'],
        'kernel_size': c['kernel_size'],
    }
    return SLaK(**{**sizes, 'decom': c['Decom'], **kwargs}), golden(f'slak_{name}_model')['model']


@pytest.fixture
def slak_checkpoint(tmp_path):
    """A file as the official training code writes it, with averaged weights that are twice as large."""
    weights = slak()[1]
    content = {
        'model': weights,
        'optimizer': {'state': {}, 'param_groups': []},
        'epoch': 'best-ema',
        'scaler': {'scale': 65536.0},
        'args': Namespace(model='SLaK_tiny', kernel_size=[51, 49, 47, 13, 5], Decom=True),
        'model_ema': {name: value * 2 for name, value in weights.items()},
    }
    torch.save(content, tmp_path / 'checkpoint-best-ema.pth')
    return tmp_path / 'checkpoint-best-ema.pth'


def test_slak_training_file(slak_checkpoint, caplog):
    backbone, weights = slak()
    with caplog.at_level(logging.INFO, 'selfsup'):
        report = loaded(backbone, slak_checkpoint)
    assert not report.missing and not report.partial
    assert set(report.unused) == {'norm.weight', 'norm.bias', 'head.weight', 'head.bias'}
    assert len(report.loaded) == len(weights) - 4
    assert_equal(backbone, {name: value for name, value in weights.items() if name not in report.unused})
    assert 'holds averaged weights too, which are not used' in caplog.text and 'OUT.pth --ema' in caplog.text
    whole, _ = slak(num_classes=10)
    assert not loaded(whole, slak_checkpoint).unused


def test_slak_averaged_weights(slak_checkpoint, tmp_path):
    out, number = extract_backbone(slak_checkpoint, tmp_path / 'ema.pth', average=True)
    backbone, weights = slak(num_classes=10)
    report = loaded(backbone, out)
    assert number == len(weights) == len(report.loaded) and not report.missing
    assert_equal(backbone, {name: value * 2 for name, value in weights.items()})
    torch.save({'model': weights}, tmp_path / 'checkpoint-9.pth')
    with pytest.raises(CheckpointError, match='holds no moving average'):
        extract_backbone(tmp_path / 'checkpoint-9.pth', tmp_path / 'x.pth', average=True)
    for naming in ('official', 'timm'):
        assert backbone_weights({'model': weights}, 'x.pth', naming).keys() == weights.keys()


def classification(backbone, channels):
    head = {
        'type': 'ClsHead',
        'with_avg_pool': True,
        'in_channels': channels,
        'num_classes': 10,
        'norm_cfg': {'type': 'LN', 'eps': 1e-6},
    }
    return MODELS.build({'type': 'Classification', 'backbone': backbone, 'head': head}).eval()


def test_slak_with_its_classifier(slak_checkpoint):
    """As `tools/test.py` loads it."""
    model = classification(slak()[0], 41)
    report = load_model(model, str(slak_checkpoint), strict=True)
    assert not report.unused and not report.missing
    for case in golden('slak_decom_golden')['cases']:
        torch.testing.assert_close(model.predict(case['input'])['head0'], case['logits_eval'], rtol=1e-4, atol=1e-5)
    load_model(model, str(slak_checkpoint), strict=True, average=True)
    assert torch.equal(model.head.fc_cls.bias, slak()[1]['head.bias'] * 2)


def test_convnext_with_its_classifier(tmp_path):
    model, content = classification(ConvNeXtV2(**SIZE), 64), golden('convnextv2_cls')
    torch.save(convnext.to_timm(content['model']), tmp_path / 'timm.pth')
    for path in (GOLDEN / 'convnextv2_cls.pt', tmp_path / 'timm.pth'):
        load_model(model, str(path), strict=True)
        torch.testing.assert_close(model.predict(content['input'])['head0'], content['logits'], rtol=1e-4, atol=1e-5)
        model.head.init_weights()


@pytest.mark.parametrize('frame', ['distributed', 'dense task', 'bare'])
def test_slak_in_other_frames(frame, tmp_path):
    backbone, weights = slak()
    body = {name: value for name, value in weights.items() if not name.startswith(('norm.', 'head.'))}
    norms = {
        f'norm{i}.{end}': torch.ones(channels)
        for i, channels in enumerate((10, 20, 31, 41))
        for end in ('weight', 'bias')
    }
    segmenter = {
        **{f'backbone.{name}': value for name, value in {**body, **norms}.items()},
        'decode_head.conv_seg.bias': torch.ones(3),
    }
    content = {
        'distributed': {'model': {f'module.{name}': value for name, value in weights.items()}},
        'dense task': {'meta': {'epoch': 1}, 'state_dict': segmenter},
        'bare': {**body, **norms},
    }[frame]
    torch.save(content, tmp_path / 'x.pth')
    report = loaded(backbone, tmp_path / 'x.pth')
    assert_equal(backbone, body)
    assert not report.missing and not report.partial
    if frame != 'distributed':
        assert {name for name, reason in report.unused.items() if 'norm for a dense task' in reason} == set(norms)
    assert ('decode_head.conv_seg.bias' in report.unused) == (frame == 'dense task')


def test_slak_out_and_in_again(tmp_path):
    """Our checkpoints have the official names, merged ones too."""
    backbone, _ = slak('nodecom', num_classes=10)
    for expected in (list(golden('slak_nodecom_model')['model']), golden('slak_nodecom_golden')['merged_names']):
        torch.save(
            {'state_dict': {f'backbone.{name}': value for name, value in backbone.state_dict().items()}},
            tmp_path / 'epoch_1.pth',
        )
        extract_backbone(tmp_path / 'epoch_1.pth', tmp_path / 'out.pth', force=True, naming='official')
        assert list(torch.load(tmp_path / 'out.pth', weights_only=True)['state_dict']) == expected
        backbone.eval().merge()
    merged, _ = slak('nodecom', num_classes=10, merged=True)
    assert not loaded(merged, tmp_path / 'out.pth').missing
    assert_equal(merged, backbone.state_dict())


def test_slak_of_other_kernels_says_so(slak_checkpoint):
    with pytest.raises(
        CheckpointError,
        match=r'another shape \(stages.0.0.large_kernel.LoRA1.conv.weight: \(10, 1, 51, 5\) in the file',
    ):
        load_backbone(Holder(slak(kernel_size=(31, 29, 27, 13, 5))[0]), str(slak_checkpoint))
    with pytest.warns(
        SelfSupWarning, match='kept their initial values: stages.0.0.large_kernel.lkb_origin.conv.weight'
    ):
        load_backbone(Holder(slak(decom=False)[0]), str(slak_checkpoint))


# ---- whole models ----


def spark(**backbone):
    return MODELS.build(
        {
            'type': 'SparK',
            'backbone': backbone,
            'neck': {'type': 'SparKNeck', 'norm': 'ln'},
            'decoder': {'type': 'LightDecoder', 'width': 64},
            'head': {'type': 'MaskedPixelHead', 'patch_size': 32},
        }
    )


def test_whole_spark_model():
    model = spark(type='ConvNeXt', **SIZE, out_indices=ALL_STAGES)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        report = load_model(model, str(GOLDEN / 'spark_convnext_model.pt'), strict=True)
    official = golden('spark_convnext_model')['module']
    # And the settings
    assert set(report.unused) == {'imn_m', 'imn_s', 'norm_black'} and len(report.loaded) == len(official) - 4
    assert torch.equal(model.decoder.blocks[4].conv[3].weight, official['dense_decoder.dec.4.conv.3.weight'])
    assert torch.equal(model.neck.mask_tokens[2], official['mask_tokens.2'])
    assert torch.equal(model.backbone.stages[2][1].gamma, official['sparse_encoder.sp_cnn.stages.2.1.gamma'])


def test_whole_fcmae_model():
    model = MODELS.build(
        {
            'type': 'FCMAE',
            'backbone': {'type': 'ConvNeXtV2', **SIZE},
            'decoder': {'type': 'ConvNeXtV2Decoder', 'width': 16},
            'head': {'type': 'MaskedPixelHead', 'patch_size': 32},
        }
    )
    report = load_model(model, str(GOLDEN / 'fcmae_model.pt'), strict=True)
    assert len(report.loaded) == 81 and not report.unused and not report.missing
    assert torch.equal(model.pred.weight, golden('fcmae_model')['model']['pred.weight'])


def test_a_backbone_alone_is_no_whole_model():
    with pytest.raises(CheckpointError, match=r'holds a backbone alone, not a SparK: load it with --pretrained'):
        load_model(spark(type='ConvNeXt', **SIZE, out_indices=ALL_STAGES), str(GOLDEN / 'spark_convnext_timm_style.pt'))


# ---- reports ----


def test_every_key_is_reported(caplog):
    with caplog.at_level(logging.DEBUG, 'selfsup'):
        report = loaded(ConvNeXt(**SIZE), GOLDEN / 'spark_convnext_model.pt')
    official = [
        name for name, value in golden('spark_convnext_model')['module'].items() if isinstance(value, torch.Tensor)
    ]
    lines = report.lines()
    assert len(lines) == len(official) and sum(line.startswith('loaded') for line in lines) == len(report.loaded)
    assert all(any(line in record.getMessage() for record in caplog.records) for line in lines)
    assert 'Loaded 61 of 61 tensors of the backbone' in report.summary() and 'official SparK' in report.summary()


def test_a_part_warns_once_with_numbers_and_names(tmp_path):
    weights = golden('spark_convnext_timm_style')
    part = {name: value for name, value in weights.items() if not name.startswith('stages.3.')}
    torch.save({**part, 'extra.weight': torch.ones(1)}, tmp_path / 'part.pth')
    with pytest.warns(SelfSupWarning) as caught:
        report = load_backbone(Holder(ConvNeXt(**SIZE)), str(tmp_path / 'part.pth'))
    assert len(caught) == 1 and caught[0].filename == __file__
    text = str(caught[0].message)
    assert f'Loaded {len(part)} of {len(weights)} tensors of the backbone from {tmp_path / "part.pth"}' in text
    assert 'kept their initial values: stages.3.0.gamma' in text and '(9 in all)' in text
    assert text.endswith(f'not used from the file, as {NO_SUCH}: extra.weight.') and '\n' not in text
    assert report.partial


def test_nothing_in_common_is_an_error():
    model = Holder(ResNet(18, stage_blocks=(1, 1, 1, 1), base_channels=8))
    with pytest.raises(CheckpointError, match=r'0 of its .* tensors match the .* of the backbone'):
        load_backbone(model, str(GOLDEN / 'spark_convnext_timm_style.pt'))
    with pytest.raises(CheckpointError, match='another shape'):
        load_backbone(
            Holder(ConvNeXt(depths=(1, 1, 2, 1), dims=(8, 16, 32, 48))), str(GOLDEN / 'spark_convnext_timm_style.pt')
        )
    assert model.followed == 0
