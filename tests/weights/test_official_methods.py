"""Files as the official code of each method writes them: recognised, read by `--pretrained`, converted there and back."""

import sys
from argparse import Namespace
from types import ModuleType

import pytest
import torch
import torchvision

from selfsup.errors import CheckpointError
from selfsup.models.backbones import ResNet
from selfsup.weights.extract import extract_backbone
from selfsup.weights.layouts import COPY, ONLINE, OUTSIDE, SECOND, STUDENT
from selfsup.weights.load import load_backbone
from selfsup.weights.read import read_checkpoint

from .networks import Holder, converted, loaded, randomised, save

HEAD = {'weight': torch.ones(3, 4), 'bias': torch.ones(3)}
NORM = {**HEAD, 'running_mean': torch.zeros(3), 'running_var': torch.ones(3), 'num_batches_tracked': torch.tensor(5)}


@pytest.fixture(scope='module')
def trained():
    """A torchvision ResNet without its classifier."""
    network = randomised(torchvision.models.resnet18())
    network.fc = torch.nn.Identity()
    return network


def under(prefix, weights):
    return {f'{prefix}{name}': value for name, value in weights.items()}


def other(weights):
    """The same network with other numbers: a copy that must not be taken."""
    return {name: value + 1 if value.is_floating_point() else value for name, value in weights.items()}


def projector(prefix, linear=(0, 3), norms=(1, 4)):
    layers = {**{str(i): HEAD for i in linear}, **{str(i): NORM for i in norms}}
    return {f'{prefix}{number}.{name}': value for number, part in layers.items() for name, value in part.items()}


def simsiam(w):
    heads = {**projector('module.encoder.fc.', (0, 3, 6), (1, 4, 7)), **projector('module.predictor.', (0, 3), (1,))}
    return {
        'epoch': 99,
        'arch': 'resnet50',
        'state_dict': {**under('module.encoder.', w), **heads},
        'optimizer': {'state': {}},
    }


def barlow(w):
    heads = {
        **projector('module.projector.', (0, 3, 6)),
        **under('module.bn.', {k: v for k, v in NORM.items() if k not in HEAD}),
    }
    return {'epoch': 1000, 'model': {**under('module.backbone.', w), **heads}, 'optimizer': {'state': {}}}


def vicreg(w):
    return {
        'epoch': 1000,
        'model': {**under('module.backbone.', w), **projector('module.projector.', (0, 3, 6))},
        'optimizer': {},
    }


def moco_v3(w):
    heads = {
        **projector('module.base_encoder.fc.'),
        **under('module.momentum_encoder.', {**other(w), **projector('fc.')}),
        **projector('module.predictor.', norms=(1,)),
    }
    frame = {'epoch': 300, 'arch': 'resnet50', 'optimizer': {'state': {}}, 'scaler': {'scale': 1024.0}}
    return {**frame, 'state_dict': {**heads, **under('module.base_encoder.', w)}}


def swav(w):
    heads = {**projector('module.projection_head.', norms=(1,)), 'module.prototypes.weight': torch.ones(5, 4)}
    return {**under('module.', w), **heads}


def swav_training(w):
    return {
        'epoch': 400,
        'state_dict': swav(w),
        'optimizer': {'state': {}},
        'amp': {'loss_scaler0': {'loss_scale': 1.0}},
    }


def dino(w):
    head = {**projector('module.head.mlp.', (0, 2, 4), ()), 'module.head.last_layer.weight_g': torch.ones(5, 1)}
    head['module.head.last_layer.weight_v'] = torch.ones(5, 4)
    return {
        'student': {**under('module.backbone.', other(w)), **head},
        'teacher': {**under('module.backbone.', w), **head},
        'optimizer': {'state': {}},
        'epoch': 100,
        'args': Namespace(arch='resnet50', lr=0.03, local_crops_scale=(0.05, 0.14)),
        'dino_loss': {'center': torch.zeros(1, 5)},
        'fp16_scaler': {'scale': 1024.0},
    }


def densecl(w):
    q = {
        **under('encoder_q.0.', w),
        **projector('encoder_q.1.mlp.', (0, 2), ()),
        **projector('encoder_q.1.mlp2.', (0, 2), ()),
    }
    k = {**under('encoder_k.0.', other(w)), **projector('encoder_k.1.mlp.', (0, 2), ())}
    queues = {
        'queue': torch.ones(4, 8),
        'queue_ptr': torch.zeros(1),
        'queue2': torch.ones(4, 8),
        'queue2_ptr': torch.zeros(1),
    }
    return {'meta': {'epoch': 200}, 'state_dict': {**queues, **q, **k, **under('backbone.', w)}, 'optimizer': {}}


def cnn_jepa(w):
    online = {**under('backbone.', other(w)), **under('backbone_sparse.', other(w))}
    rest = {'mask_token': torch.zeros(1, 4, 1, 1), **projector('predictor.')}
    return {
        'state_dict': {**rest, **online, **under('backbone_momentum.', w)},
        'pytorch-lightning_version': '2.2.1',
        'hyper_parameters': {'lr': 0.01},
    }


FULL = {
    'SimSiam': (simsiam, 'SimSiam', {OUTSIDE}),
    'Barlow Twins': (barlow, 'Barlow Twins', {OUTSIDE}),
    'VICReg': (vicreg, 'VICReg', {OUTSIDE}),
    'MoCo v3': (moco_v3, "MoCo v3's code", {OUTSIDE, COPY}),
    'SwAV': (swav, 'SwAV', {OUTSIDE}),
    'SwAV training': (swav_training, 'SwAV', {OUTSIDE}),
    'DINO': (dino, 'DINO', {OUTSIDE, STUDENT}),
    'DenseCL training': (densecl, 'DenseCL', {OUTSIDE, COPY, SECOND}),
    'CNN-JEPA': (cnn_jepa, "CNN-JEPA's momentum network", {OUTSIDE, ONLINE}),
}
BARE = {
    'of Barlow Twins, VICReg and DINO': lambda w: dict(w),
    'of DenseCL': lambda w: {'state_dict': dict(w), 'author': 'DenseCL'},
}
FILES = {
    **{name: (make, mark, reasons) for name, (make, mark, reasons) in FULL.items()},
    **{n: (m, 'bare ResNet', set()) for n, m in BARE.items()},
}


@pytest.mark.parametrize('name', FILES)
def test_there_and_back(name, trained, tmp_path):
    """Into our backbone, into torchvision's network and back into ours: the same features, from the copy that is evaluated."""
    make, mark, reasons = FILES[name]
    path = save(make(trained.state_dict()), tmp_path / 'official.pth')
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = trained(images)
    ours = ResNet(18)
    report = loaded(ours, path)
    assert mark in report.origin and not report.missing and {*report.unused.values()} >= reasons
    assert len(report.loaded) == len(trained.state_dict())
    torch.testing.assert_close(features(ours, images), expected)

    outcome = converted(path, tmp_path, 'torchvision')  # with --check
    theirs = torchvision.models.resnet18()
    theirs.fc = torch.nn.Identity()
    theirs.load_state_dict(torch.load(outcome.path, weights_only=True))
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(images), expected, rtol=0, atol=0)
    again = ResNet(18)
    loaded(again, outcome.path)
    torch.testing.assert_close(features(again, images), expected)


@torch.no_grad()
def features(backbone, images):
    maps = backbone.eval()(images)
    return maps[-1].mean((2, 3))


@pytest.mark.parametrize('name', FULL)
def test_a_missing_tensor_is_an_error_and_no_warning(name, trained, tmp_path):
    weights = {n: value for n, value in trained.state_dict().items() if n != 'layer4.1.conv2.weight'}
    path = save(FULL[name][0](weights), tmp_path / 'cut.pth')
    with pytest.raises(
        CheckpointError, match=r'cut\.pth \(.*\) lacks 1 of the 120 tensors of the backbone: layer4\.1\.conv2\.weight'
    ):
        load_backbone(Holder(ResNet(18)), str(path))
    with pytest.raises(CheckpointError, match=r'missing in the file: layer4\.1\.conv2\.weight'):
        converted(path, tmp_path, 'torchvision')


@pytest.mark.parametrize('name', FULL)
def test_a_backbone_that_matches_nothing_is_an_error(name, tmp_path):
    path = save(FULL[name][0]({'stem.weight': torch.ones(2), 'blocks.0.weight': torch.ones(2)}), tmp_path / 'none.pth')
    with pytest.raises(CheckpointError):
        load_backbone(Holder(ResNet(18)), str(path))
    with pytest.raises(CheckpointError):
        converted(path, tmp_path, 'torchvision')


def test_prefixes_are_taken_off_at_the_front_only(trained, tmp_path):
    """A module inside of the backbone that is called like a prefix keeps its name."""
    content = dino(trained.state_dict())
    content['teacher']['module.backbone.extra.module.backbone.weight'] = torch.ones(2)
    with pytest.raises(CheckpointError, match=r'only in the file: extra\.module\.backbone\.weight'):
        converted(save(content, tmp_path / 'x.pth'), tmp_path, 'torchvision')


# ---- Lightning ----


@pytest.fixture
def trainer(monkeypatch):
    """Stands for the libraries whose objects Lightning files hold; gone when the file is read."""
    ran = []

    class AttributeDict(dict):
        pass

    class DictConfig:
        def __init__(self):
            self.content, self.kinds = {'lr': 0.1, 'steps': [1, 2]}, (dict, str)

        def __setstate__(self, state):
            ran.append(state)

    modules = {'lightning': ModuleType('lightning'), 'lightning.settings': ModuleType('lightning.settings')}
    for kind in (AttributeDict, DictConfig):
        kind.__module__, kind.__qualname__ = 'lightning.settings', kind.__name__
        setattr(modules['lightning.settings'], kind.__name__, kind)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    yield AttributeDict, DictConfig, ran
    assert not ran


def test_lightning_objects_are_left_out_and_none_of_their_code_runs(trained, tmp_path, trainer, monkeypatch, caplog):
    attributes, config, _ = trainer
    content = {
        **cnn_jepa(trained.state_dict()),
        'hyper_parameters': attributes(lr=0.1, config=config()),
        'callbacks': [config()],
    }
    path = save(content, tmp_path / 'last.ckpt')
    for name in ('lightning', 'lightning.settings'):
        monkeypatch.delitem(sys.modules, name)
    with caplog.at_level('INFO', 'selfsup'):
        found = read_checkpoint(path)
    assert found['hyper_parameters']['lr'] == 0.1 and type(found['hyper_parameters']) is dict
    assert 'last.ckpt: objects beside the weights are left out unread, and nothing of them was run: ' in caplog.text
    assert 'lightning.settings.DictConfig' in caplog.text
    ours = ResNet(18)
    assert "CNN-JEPA's momentum network" in loaded(ours, path).origin
    assert torch.equal(ours.conv1.weight, trained.conv1.weight)


class Payload:
    def __reduce__(self):
        return (print, ('ran',))


def test_code_beside_lightning_objects_is_refused(trained, tmp_path, trainer, capsys):
    _, config, _ = trainer
    path = save({**cnn_jepa(trained.state_dict()), 'hyper_parameters': [config(), Payload()]}, tmp_path / 'evil.ckpt')
    with pytest.raises(CheckpointError, match='loading it could run code, so it is refused') as error:
        read_checkpoint(path)
    assert '\n' not in str(error.value) and 'ran' not in capsys.readouterr().out


@pytest.mark.parametrize(
    ('prefix', 'online'),
    [
        ('key_backbone.', 'backbone.'),
        ('module.momentum_encoder.', 'module.base_encoder.'),
        ('encoder_k.0.', 'encoder_q.0.'),
        ('target_net.0.', 'online_net.0.'),
        ('encoder_k.module.0.', 'backbone.'),
    ],
)
def test_the_momentum_network_is_taken_out_under_plain_names(prefix, online, trained, tmp_path):
    weights = trained.state_dict()
    neck = {f'{prefix.removesuffix("0.")}1.mlp.0.weight': torch.ones(3, 4)} if prefix.endswith('.0.') else {}
    torch.save({'state_dict': {**under(online, other(weights)), **under(prefix, weights), **neck}}, tmp_path / 'a.pth')
    path, _ = extract_backbone(tmp_path / 'a.pth', tmp_path / 'out.pth', momentum=True)
    found = torch.load(path, weights_only=True)['state_dict']
    assert found.keys() == weights.keys() and all(torch.equal(found[name], weights[name]) for name in weights)


@pytest.mark.parametrize(
    ('frame', 'message'),
    [('state_dict', 'holds no momentum network, under none of'), ('teacher', 'is what is taken without --momentum')],
)
def test_where_there_is_no_other_momentum_network_nothing_is_written(frame, message, trained, tmp_path):
    torch.save({frame: under('backbone.', trained.state_dict())}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=message):
        extract_backbone(tmp_path / 'a.pth', tmp_path / 'out.pth', momentum=True)
    assert not (tmp_path / 'out.pth').exists()
