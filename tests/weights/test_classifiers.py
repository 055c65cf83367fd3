"""The classifier of a trained network: where files keep it, what is none, and that every way out computes the same logits."""

import json
import logging

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from selfsup.errors import CheckpointError, ConfigError, SelfSupWarning
from selfsup.registry import BACKBONES, MODELS
from selfsup.weights.backbone import find_backbone
from selfsup.weights.classifier import find_classifier
from selfsup.weights.convert import compare, convert
from selfsup.weights.load import load_backbone, load_model

from .networks import ENDINGS, randomised, save
from .test_layouts import FILES, PLAIN, as_children, as_lightly, as_mmpretrain, under

D, K = 32, 3  # of PLAIN
FC = {'weight': torch.randn(K, D), 'bias': torch.randn(K)}
NORM = {'weight': torch.rand(D), 'bias': torch.randn(D)}
MLP = under(**{'0__': FC, '2__': FC})
BATCH_NORM = {
    **NORM,
    'running_mean': torch.zeros(D),
    'running_var': torch.ones(D),
    'num_batches_tracked': torch.tensor(3),
}


VISSL_HEAD = under(**{'0__clf__0__': FC})


def vissl(heads):
    return {'classy_state_dict': {'base_model': {'model': {'trunk': under(_feature_blocks__=PLAIN), 'heads': heads}}}}


@pytest.mark.parametrize(
    ('weights', 'normed'),
    [
        (PLAIN | under(fc__=FC), False),
        (under(module__=PLAIN, module__fc__=FC), False),
        (as_lightly(PLAIN | under(fc__=FC)), False),
        (under(model__=PLAIN, model__fc__=FC), False),
        (under(backbone__=PLAIN, head__fc_cls__=FC), False),
        (under(backbone__=PLAIN, head__norm__=NORM, head__fc_cls__=FC), True),
        (under(backbone__=PLAIN, head__fc__=FC), False),
        (under(backbone__=PLAIN, classifier__=FC), False),
        (vissl(VISSL_HEAD), False),
    ],
)
def test_where_it_is(weights, normed):
    found = find_backbone(weights, 'x.pth').classifier
    assert torch.equal(found.weights['fc_cls.weight'], FC['weight']) and torch.equal(
        found.weights['fc_cls.bias'], FC['bias']
    )
    assert found.normed == normed and found.classes == K and found.channels == D
    if normed:
        assert torch.equal(found.weights['norm.weight'], NORM['weight'])


@pytest.mark.parametrize(
    'weights',
    [
        under(encoder_q__=PLAIN, encoder_q__fc__=FC, encoder_k__=PLAIN),
        under(encoder__=PLAIN, encoder__fc__=FC),  # projections
        under(backbone__=PLAIN, backbone__fc__=MLP),
        under(backbone__=PLAIN, head__=MLP),
        under(backbone__=PLAIN, head__fcs__0__=FC),
        under(backbone__=PLAIN, classifier__=FC, projector__0__=FC),
        under(backbone__=PLAIN, classifier__=FC, momentum_backbone__=PLAIN),
        under(model__backbone__=PLAIN, model__backbone__fc__=FC, model__projector__=FC),
        under(backbone__=PLAIN, neck__fc0__=FC, head__fc_cls__=FC),
        under(backbone__=PLAIN, head__norm__=BATCH_NORM, head__fc_cls__=FC),
        under(backbone__=PLAIN, head__fc_cls__={'weight': FC['weight']}),
        under(backbone__=PLAIN, head__fc_cls__={**FC, 'bias': torch.ones(5)}),
        vissl(VISSL_HEAD | under(**{'1__clf__0__': FC})),
        {'meta': {'algorithm': 'RotationPred'}, 'state_dict': under(backbone__=PLAIN, head__fc_cls__=FC)},
    ],
)
def test_what_is_none(weights):
    assert find_backbone(weights, 'x.pth').classifier is None


@pytest.mark.parametrize(
    'sign',
    [
        'neck__',
        'projector__',
        'momentum_backbone__',
        'projection_head__',
        'prediction_head__',
        'predictor__',
        'prototypes__',
        'queue',
        'encoder_k__',
        'target_backbone__',
        'key_backbone__',
        'model__projector__',
    ],
)
def test_signs_of_pretraining(sign):
    weights = under(backbone__=PLAIN, backbone__fc__=FC)
    assert find_backbone(weights, 'x.pth').classifier is not None
    assert find_backbone(weights | under(**{sign: {'0.weight': torch.ones(1)}}), 'x.pth').classifier is None


def test_only_what_stands_there_is_named():
    found = find_classifier('backbone.', PLAIN, under(head__norm__=NORM, head__fc_cls__=FC, decode__=FC))
    assert found.names == {'head.norm.weight', 'head.norm.bias', 'head.fc_cls.weight', 'head.fc_cls.bias'}
    assert found.named('a.', 'b.').keys() == {'a.weight', 'a.bias', 'b.weight', 'b.bias'}


# ---- every family to every target ----

SMALL = {'depths': (1, 1, 1, 1), 'dims': (8, 8, 8, 16)}
FAMILIES = {
    'basic': ({'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1)}, False),
    'bottleneck': ({'type': 'ResNet', 'depth': 50, 'stage_blocks': (1, 1, 1, 1)}, False),
    'convnext': ({'type': 'ConvNeXt', **SMALL}, True),
    'convnextv2': ({'type': 'ConvNeXtV2', **SMALL}, True),
    'slak': ({'type': 'SLaK', **SMALL, 'kernel_size': (9, 9, 7, 7, 3)}, True),
    'timm': ({'type': 'TIMMBackbone', 'model_name': 'convnext_atto', **SMALL}, True),
}
LACKS = {
    ('convnextv2', 'torchvision'),
    ('slak', 'timm'),
    ('slak', 'torchvision'),
    ('timm', 'timm'),
    ('timm', 'torchvision'),
}


def trained(family):
    """A `Classification` with weights that show."""
    backbone, normed = FAMILIES[family]
    channels = BACKBONES.build(dict(backbone)).out_channels
    norm = {'norm_cfg': {'type': 'LN', 'eps': 1e-6}} if normed else {}
    return randomised(
        MODELS.build(
            {
                'type': 'Classification',
                'backbone': dict(backbone),
                'head': {'type': 'ClsHead', 'with_avg_pool': True, 'in_channels': channels, 'num_classes': K, **norm},
            }
        )
    )


@pytest.mark.parametrize('to', ['timm', 'torchvision', 'safetensors', 'onnx'])
@pytest.mark.parametrize('family', FAMILIES)
def test_the_logits_are_those_of_the_run(family, to, tmp_path):
    model = trained(family)
    source = save({'state_dict': model.state_dict(), 'meta': {'algorithm': 'Classification'}}, tmp_path / 'epoch_1.pth')
    arguments = (source, tmp_path / f'out{ENDINGS[to]}', to)
    if (family, to) in LACKS:
        with pytest.raises(ConfigError, match=r'has no|need not do.*--no-classifier'):
            convert(*arguments, config=FAMILIES[family][0])
        return
    done = convert(*arguments, config=FAMILIES[family][0], check=True, size=32)
    assert done.differences[-1].output == 'logits' and done.network.unused == {}
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            done.target.run(done.path, images)['logits'], model.predict(images)['head0'], rtol=1e-4, atol=1e-4
        )
    if to == 'safetensors':
        again, before = trained(family), model.head.fc_cls.weight.clone()
        nn.init.zeros_(again.head.fc_cls.weight)
        load_model(again, str(done.path), strict=True)
        load_backbone(again, str(done.path))
        assert torch.equal(again.head.fc_cls.weight, before)


def test_the_check_compares_logits(tmp_path):
    source = save(under(backbone__=PLAIN, head__fc_cls__=FC), tmp_path / 'in.pth')
    config = {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 4}
    done = convert(source, tmp_path / 'out.safetensors', 'safetensors', config=config, check=True, size=32)
    weights = load_file(done.path)
    weights['head.fc_cls.bias'] += 1
    save_file(
        weights,
        done.path,
        {'backbone': json.dumps(done.network.config), 'head': json.dumps(done.network.classifier.config())},
    )
    assert {d.output: d.relative > 1e-4 for d in compare(done.network, done.target, done.path, 32)} == {
        'features': False,
        'last map': False,
        'logits': True,
    }


@pytest.mark.parametrize(('family', 'norm'), [('basic', {'type': 'LN'}), ('convnext', None)])
def test_a_classifier_that_the_library_does_not_have(family, norm, tmp_path):
    model = trained(family)
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith('head.norm.')}
    channels = model.head.in_channels
    extra = {} if norm is None else {'head.norm.weight': torch.ones(channels), 'head.norm.bias': torch.ones(channels)}
    source = save({**weights, **extra}, tmp_path / 'in.pth')
    for to in ('timm', 'torchvision'):
        with pytest.raises(
            ConfigError,
            match=rf'{to} has no {FAMILIES[family][0]["type"]} with .* before its classifier.*--no-classifier',
        ):
            convert(source, tmp_path / 'out.pth', to, config=FAMILIES[family][0])
        done = convert(
            source, tmp_path / f'{to}.pth', to, config=FAMILIES[family][0], classifier=False, check=True, size=32
        )
        assert set(done.network.unused.values()) == {'the classifier'}


def test_a_classifier_of_other_numbers_is_left_out(tmp_path):
    source = save(
        under(backbone__=PLAIN, head__fc_cls__={'weight': torch.ones(K, 4 * D), 'bias': torch.ones(K)}),
        tmp_path / 'in.pth',
    )
    config = {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 4}
    done = convert(source, tmp_path / 'out.safetensors', 'safetensors', config=config)
    assert (
        set(done.network.unused.values()) == {'a classifier of 128 numbers, not of 32 averages'}
        and done.network.classifier is None
    )


# ---- of other code, into our models ----


def test_mmpretrain_to_timm(tmp_path):
    config = {'type': 'ConvNeXtV2', **SMALL, 'num_classes': K}
    ours = randomised(BACKBONES.build(dict(config)))
    source = save({'state_dict': as_mmpretrain(ours.state_dict())}, tmp_path / 'in.pth')
    done = convert(source, tmp_path / 'out.pth', 'timm', config=config, check=True, size=32)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            done.target.run(done.path, images)['logits'], ours.classify(images), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize('name', ['basic', 'convnext'])
def test_a_trained_network_of_torchvision_is_a_classification(name, tmp_path):
    """As tools/test.py loads it."""
    blocks = [torchvision.models.convnext.CNBlockConfig(8, 16 if last else 8, 1) for last in (0, 0, 1)]
    blocks.append(torchvision.models.convnext.CNBlockConfig(16, None, 1))
    resnet = torchvision.models.resnet
    theirs = randomised(
        resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=K)
        if name == 'basic'
        else torchvision.models.ConvNeXt(blocks, num_classes=K)
    )
    model, path = trained(name), save(theirs.state_dict(), tmp_path / 'theirs.pth')
    report = load_model(model, str(path), strict=True)
    assert not report.missing and not report.unused and 'torchvision' in report.origin
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.predict(images)['head0'], theirs(images), rtol=1e-4, atol=1e-4)


class Holder(nn.Module):
    """The least that `load_backbone` asks of an algorithm."""

    def __init__(self, **backbone):
        super().__init__()
        self.backbone = BACKBONES.build(
            {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 4, **backbone}
        )

    def after_load_backbone(self):
        pass


@pytest.mark.parametrize('name', FILES)
def test_every_layout_is_taken_by_pretrained(name, tmp_path, recwarn, caplog):
    """One detection serves `--pretrained` and tools/convert.py."""
    content, layout, _ = FILES[name]
    source, holder = save(content, tmp_path / 'in.pth'), Holder()
    with caplog.at_level(logging.INFO, 'selfsup'):
        report = load_backbone(holder, str(source))
    assert not report.missing and not report.partial and not recwarn.list
    assert all(torch.equal(value, PLAIN[name]) for name, value in holder.backbone.state_dict().items())
    assert layout in report.origin and f'tensors of the backbone from {source} ({report.origin})' in caplog.text


def test_a_stem_without_relu(tmp_path):
    cut = {
        f'{"0 1 2 3 4 5".split()[("conv1", "bn1", "layer1", "layer2", "layer3", "layer4").index(name.split(".")[0])]}.'
        f'{name.partition(".")[2]}': value
        for name, value in as_lightly(PLAIN).items()
    }
    source, holder = save(under(backbone__=cut), tmp_path / 'in.pth'), Holder()
    with pytest.warns(SelfSupWarning, match='trained without the ReLU after its first norm'):
        assert not load_backbone(holder, str(source)).missing
    assert torch.equal(holder.backbone.conv1.weight, PLAIN['conv1.weight'])
    with pytest.raises(CheckpointError, match='without a ReLU after its first norm'):
        convert(source, tmp_path / 'out.pth', 'timm')


def test_a_vision_transformer_without_a_prefix(tmp_path):
    """A network that is not known by its weights is found by the names of the one that takes them."""
    config = {'type': 'TIMMBackbone', 'model_name': 'vit_tiny_patch16_224', 'img_size': 32, 'patch_size': 8, 'depth': 1}
    theirs = timm.create_model('vit_tiny_patch16_224', img_size=32, patch_size=8, depth=1, num_classes=0)
    source = save(theirs.state_dict(), tmp_path / 'vit.pth')
    done = convert(source, tmp_path / 'out.pth', 'timm', config=config, check=True)
    written = torch.load(done.path, weights_only=True)
    assert written.keys() == theirs.state_dict().keys()


def test_children_of_torchvision_with_relu_and_pool_load_silently(tmp_path, recwarn):
    source = save(under(backbone__=as_children(PLAIN)), tmp_path / 'in.pth')
    report = load_backbone(Holder(), str(source))
    assert not report.missing and 'children of a Sequential' in report.summary() and not recwarn.list
