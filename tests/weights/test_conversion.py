"""From any checkpoint to other libraries: both compute the same."""

import json
import pickle

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional

from selfsup.errors import CheckpointError, ConfigError
from selfsup.registry import BACKBONES
from selfsup.weights.convert import convert, load_network
from selfsup.weights.extract import extract_backbone
from selfsup.weights.load import load_backbone
from selfsup.weights.read import read_checkpoint
from selfsup.weights.to import TARGETS
from selfsup.weights.upgrade import upgrade_file

from .networks import GOLDEN, SIZE, converted, golden, randomised, save

TINY = {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1)}


def run_usage(done):
    """What a user gets by the printed lines."""
    names = {}
    exec('\n'.join(done.usage), names)
    return names['model'].eval()


# ---- other libraries ----


@pytest.mark.parametrize('classifier', [True, False])
@pytest.mark.parametrize('to', ['timm', 'torchvision', 'detectron2', 'safetensors'])
def test_resnet18(resnet18, tmp_path, to, classifier):
    done = converted(resnet18, tmp_path, to, classifier=classifier)
    kept = classifier and to != 'detectron2'
    assert done.target.tensors == (122 if kept else 120) and max(d.relative for d in done.differences) < 1e-5
    assert [d.output for d in done.differences] == ['features', 'last map', *(['logits'] if kept else [])]
    assert done.network.config == {'type': 'ResNet', 'depth': 18, 'out_indices': (1, 2, 3, 4)}
    assert done.network.unused == ({} if kept else dict.fromkeys(('fc.weight', 'fc.bias'), 'the classifier'))
    if to in ('timm', 'torchvision'):
        theirs, images = torchvision.models.resnet18().eval(), torch.randn(2, 3, 64, 64)
        theirs.load_state_dict(torch.load(resnet18, weights_only=True))
        theirs.fc = theirs.fc if classifier else nn.Identity()
        torch.testing.assert_close(run_usage(done)(images), theirs(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', ['convnext_atto', 'convnextv2_atto'])
@pytest.mark.parametrize('to', ['timm', 'torchvision', 'safetensors'])
def test_timm_convnext(name, to, tmp_path):
    theirs = randomised(timm.create_model(name, num_classes=3))
    source = save(theirs.state_dict(), tmp_path / 'in.pth')
    if (name, to) == ('convnextv2_atto', 'torchvision'):
        with pytest.raises(ConfigError, match=r'torchvision has no ConvNeXtV2.*Use --to onnx or timm'):
            converted(source, tmp_path, to)
        return
    done = converted(source, tmp_path, to)
    assert "timm's names" in done.network.layout
    assert (
        done.network.unused == {} and done.network.classifier.classes == 3 and done.differences[-1].output == 'logits'
    )
    if to == 'timm':
        images = torch.randn(2, 3, 32, 32)
        torch.testing.assert_close(run_usage(done)(images), theirs(images), rtol=1e-4, atol=1e-4)
        written = torch.load(done.path, weights_only=True)
        assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in written.items())


def test_torchvision_convnext_tiny_and_back(tmp_path):
    config = {'type': 'ConvNeXt', **SIZE}
    source = save(randomised(BACKBONES.build(dict(config))).state_dict(), tmp_path / 'in.pth')
    done = converted(source, tmp_path, 'torchvision', config=config)
    assert 'features.0.0.weight' in torch.load(done.path, weights_only=True)
    back = convert(done.path, tmp_path / 'back.safetensors', 'safetensors', config=config, check=True, size=32)
    assert "torchvision's names" in back.network.layout
    original = torch.load(source, weights_only=True)
    assert all(torch.equal(value, original[name]) for name, value in read_checkpoint(back.path).items())
    tiny = load_network(save(torchvision.models.convnext_tiny().state_dict(), tmp_path / 'tiny.pth'))
    assert tiny.config['arch'] == 'tiny'
    assert 'model = torchvision.models.convnext_tiny(num_classes=1000)' in TARGETS['torchvision'](tiny, 32, False).usage


@pytest.mark.parametrize('to', ['timm', 'torchvision'])
@pytest.mark.parametrize(
    'change',
    [
        {'stem': 'cifar'},
        {'in_channels': 2},
        {'stage_blocks': (1, 1, 1, 1)},
        {'type': 'ResNeXt', 'depth': 50, 'groups': 8, 'width_per_group': 8, 'stage_blocks': (1, 1, 1, 1)},
    ],
)
def test_other_resnets(change, to, tmp_path):
    config = {'type': 'ResNet', 'depth': 18, **change}
    source = save({'state_dict': randomised(BACKBONES.build(dict(config))).state_dict()}, tmp_path / 'in.pth')
    done = converted(source, tmp_path, to, config=config if 'stage_blocks' in config else None)
    if done.usage:
        run_usage(done)


@pytest.mark.parametrize(
    ('change', 'to', 'message'),
    [
        ({'style': 'caffe'}, 'torchvision', "no ResNet with style='caffe'"),
        ({'norm_cfg': {'type': 'GN', 'num_groups': 2}}, 'timm', 'norm_cfg'),
        ({'base_channels': 8}, 'torchvision', 'base_channels=8'),
        ({'in_channels': 2}, 'detectron2', 'take three channels'),
    ],
)
def test_what_other_libraries_do_not_have(change, to, message, tmp_path):
    config = {**TINY, **change}
    source = save(BACKBONES.build(dict(config)).state_dict(), tmp_path / 'in.pth')
    with pytest.raises(ConfigError, match=message):
        converted(source, tmp_path, to, config=config)
    assert list(tmp_path.iterdir()) == [source]


def test_detectron2_names_of_a_spark_resnet50(tmp_path):
    """318 of them, from a file with SparK's prefixes."""
    weights = torchvision.models.resnet50().state_dict()
    named = {f'sparse_encoder.sp_cnn.{name}': value for name, value in weights.items() if not name.startswith('fc.')}
    content = {'module': {**named, 'mask_tokens.0': torch.ones(1, 2048, 1, 1)}, 'arch': 'resnet50', 'is_pretrain': True}
    source = save(content, tmp_path / 'in.pth')
    done = converted(source, tmp_path, 'detectron2')
    content = pickle.loads(done.path.read_bytes())
    assert '  RESNETS: {DEPTH: 50, STRIDE_IN_1X1: False}' in done.usage and f'  WEIGHTS: {done.path}' in done.usage
    assert len(content['model']) == done.target.tensors == 318 and content['matching_heuristics'] is True
    assert 'official SparK' in done.network.layout and done.network.unused == {
        'neck.mask_tokens.0': 'no part of the backbone'
    }


# ---- our form ----


def test_safetensors_say_what_they_hold_and_load_as_pretrained(tmp_path):
    from safetensors import safe_open

    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = BACKBONES.build(dict(TINY))

        def after_load_backbone(self):
            pass

    source = save(
        {'state_dict': {f'backbone.{k}': v for k, v in randomised(BACKBONES.build(dict(TINY))).state_dict().items()}},
        tmp_path / 'in.pth',
    )
    done = converted(source, tmp_path, 'safetensors', config=TINY)
    with safe_open(done.path, framework='pt') as file:
        assert json.loads(file.metadata()['backbone'])['stage_blocks'] == [1, 1, 1, 1]
    holder = Holder()
    assert not load_backbone(holder, str(done.path)).missing
    assert torch.equal(holder.backbone.conv1.weight, read_checkpoint(source)['state_dict']['backbone.conv1.weight'])
    done.path.write_bytes(done.path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match='cut off or no safetensors file'):
        read_checkpoint(done.path)


def test_a_file_is_not_replaced_by_what_was_read_from_it(resnet18, tmp_path):
    source = save(torch.load(resnet18, weights_only=True), tmp_path / 'in.pth')
    before = source.read_bytes()
    (tmp_path / 'link.pth').symlink_to(source)
    for path in (source, tmp_path / 'link.pth'):
        with pytest.raises(CheckpointError, match='is the file that is read: give another name'):
            convert(source, path, 'timm', force=True)
        with pytest.raises(CheckpointError, match='is the file that is read: give another name'):
            extract_backbone(source, path, force=True)
        with pytest.raises(CheckpointError, match='is the file that is read: give another name'):
            upgrade_file(source, path, force=True)
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    'content',
    [
        lambda w: {'model': {}, 'ema': {f'module.{k}': v * 2 for k, v in w.items()}},  # SparK, fine-tuned
        lambda w: {'state_dict': w, 'state_dict_ema': {k: v * 2 for k, v in w.items()}},  # timm
        lambda w: {'state_dict': w, 'ema': {'steps': 3, 'state_dict': {k: v * 2 for k, v in w.items()}}},
    ],
)
def test_moving_averages_of_official_code(content, tmp_path):
    weights = {k: v for k, v in BACKBONES.build(dict(TINY)).state_dict().items() if v.is_floating_point()}
    source = save(content(weights), tmp_path / 'in.pth')
    done = convert(source, tmp_path / 'out.pth', 'torchvision', config=TINY, average=True)
    assert torch.equal(torch.load(done.path, weights_only=True)['conv1.weight'], weights['conv1.weight'] * 2)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_what_leaves_is_float32(resnet18, dtype, tmp_path):
    weights = {name: value.to(dtype) for name, value in torch.load(resnet18, weights_only=True).items()}
    done = converted(save(weights, tmp_path / 'in.pth'), tmp_path, 'timm')
    written = torch.load(done.path, weights_only=True)
    assert {value.dtype for name, value in written.items() if not name.endswith('tracked')} == {torch.float32}


def test_moving_average_and_counters(tmp_path):
    weights = {k: v for k, v in randomised(BACKBONES.build(dict(TINY))).state_dict().items() if 'num_batches' not in k}
    source = save(
        {'model': weights, 'model_ema': {name: value * 2 for name, value in weights.items()}}, tmp_path / 'in.pth'
    )
    done = converted(source, tmp_path, 'torchvision', config=TINY, average=True)
    assert torch.equal(torch.load(done.path, weights_only=True)['conv1.weight'], weights['conv1.weight'] * 2)
    assert 'are not in the file and are 0' in done.network.notes[0]


# ---- official files: what their code computed ----


def assert_last_map(done, name):
    expected = golden(name)
    given = done.target.run(done.path, expected['inp'])['last map']
    torch.testing.assert_close(given, expected['dense_last_feat_eval'], rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize(
    ('name', 'model', 'layers', 'channels'),
    [('basic', 'resnet18', (1, 1, 1, 1), (8, 16, 32, 64)), ('bottleneck', 'resnet50', (1, 2, 1, 1), (4, 8, 8, 16))],
)
def test_spark_resnet_files(name, model, layers, channels, tmp_path):
    config = {'type': 'TIMMBackbone', 'model_name': model, 'layers': layers, 'channels': channels}
    done = converted(GOLDEN / f'spark_{name}_model.pt', tmp_path, 'timm', config=config)
    assert_last_map(done, f'spark_{name}_golden')


@pytest.mark.parametrize('to', ['timm', 'torchvision'])
def test_spark_convnext_file(to, tmp_path):
    done = converted(GOLDEN / 'spark_convnext_model.pt', tmp_path, to, config={'type': 'ConvNeXt', **SIZE})
    assert_last_map(done, 'spark_convnext_golden')


@pytest.mark.parametrize('to', ['timm', 'onnx'])
def test_fcmae_file(to, tmp_path):
    """A pretraining run has its norms over the batch; what leaves has them over each image, as the official transfer."""
    images = golden('fcmae_model')['imgs']
    done = converted(
        GOLDEN / 'fcmae_model.pt',
        tmp_path,
        to,
        config={'type': 'ConvNeXtV2', **SIZE, 'grn_scope': 'batch'},
        size=images.shape[-1],
    )
    expected = golden('fcmae_golden')['dense_unmasked_encoder']
    given = done.target.run(done.path, images)
    torch.testing.assert_close(
        given.get('features', expected.mean((2, 3))), expected.mean((2, 3)), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(given.get('last map', expected), expected, rtol=1e-4, atol=1e-5)
    assert "grn_scope='image'" in done.network.notes[0]


@pytest.mark.parametrize('merge', [False, True])
@pytest.mark.parametrize('name', ['decom', 'nodecom'])
def test_slak_file_in_onnx(name, merge, tmp_path):
    """The authors' classifier on the features that onnxruntime computes gives the authors' logits."""
    content = golden(f'slak_{name}_golden')
    c, weights = content['config'], golden(f'slak_{name}_model')['model']
    config = {
        'type': 'SLaK',
        'depths': c['depths'],
        'dims': c['dims'],
        'width_factor': c['width_factor'],
        'kernel_size': c['kernel_size'],
        'decom': c['Decom'],
    }
    images = content['cases'][0]['input']
    done = converted(
        GOLDEN / f'slak_{name}_model.pt', tmp_path, 'onnx', config=config, merge=merge, size=images.shape[-1]
    )
    features = done.target.run(done.path, images)['features']
    normed = functional.layer_norm(features, features.shape[1:], weights['norm.weight'], weights['norm.bias'], eps=1e-6)
    logits = normed @ weights['head.weight'].T + weights['head.bias']
    torch.testing.assert_close(logits, content['cases'][0]['logits_eval'], rtol=1e-4, atol=1e-5)


# ---- ONNX ----


def test_onnx_of_a_resnet_with_maps(tmp_path):
    import onnx

    source = save(randomised(BACKBONES.build(dict(TINY))).state_dict(), tmp_path / 'in.pth')
    done = converted(source, tmp_path, 'onnx', config=TINY, maps=True)
    assert [d.output for d in done.differences] == ['features', 'map1', 'map2', 'map3', 'map4']
    model = onnx.load(done.path)
    onnx.checker.check_model(model)
    assert [entry.version for entry in model.opset_import if not entry.domain] == [18]
    images = torch.randn(5, 3, 32, 32)  # another batch than it was exported with
    torch.testing.assert_close(
        done.target.run(done.path, images)['map4'], done.network.run(images)['last map'], rtol=1e-4, atol=1e-4
    )


def test_onnx_holds_ordinary_convolutions_for_large_kernels(tmp_path):
    import onnx

    config = {'type': 'SLaK', 'depths': (1, 1, 1, 1), 'dims': (4, 8, 8, 8), 'kernel_size': (51, 49, 13, 13, 5)}
    source = save(randomised(BACKBONES.build(dict(config))).state_dict(), tmp_path / 'in.pth')
    done = converted(source, tmp_path, 'onnx', config=config, merge=True)
    nodes = onnx.load(done.path).graph.node
    kernels = [
        tuple(a.ints) for node in nodes if node.op_type == 'Conv' for a in node.attribute if a.name == 'kernel_shape'
    ]
    assert kernels.count((51, 5)) == kernels.count((5, 51)) == 1 and kernels.count((13, 5)) == 2
    assert len(kernels) == 4 + 2 * 4  # stem, downsampling, and two a block: no other way to compute a large kernel


@pytest.mark.parametrize('to', ['timm', 'safetensors', 'onnx'])
def test_a_vision_transformer_of_our_own_run(to, tmp_path):
    config = {'type': 'TIMMBackbone', 'model_name': 'vit_tiny_patch16_224', 'img_size': 32, 'patch_size': 8, 'depth': 1}
    model = BACKBONES.build(dict(config))
    source = save(
        {'state_dict': {f'backbone.{name}': value for name, value in model.state_dict().items()}}, tmp_path / 'in.pth'
    )
    done = converted(source, tmp_path, to, config=config, size=None)
    assert done.size == (32, 32) and done.network.title.startswith("TIMMBackbone(model_name='vit_tiny_patch16_224'")
    with pytest.raises(CheckpointError, match=r'holds a vision transformer.*give --config'):
        load_network(source)
    for other in ('torchvision', 'detectron2'):
        with pytest.raises(ConfigError, match=f'{other} has no TIMMBackbone'):
            converted(source, tmp_path, other, config=config, force=True)
