"""benchmarks/detection without detectron2: settings of the configs, decay factors, parameter groups."""

import json
import sys
import types
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from benchmarks.detection import train_net
from benchmarks.detection.solver import lr_factor, optimizer_class, param_groups
from selfsup.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'benchmarks' / 'detection'
GOLDEN = ROOT / 'tests' / 'golden'
FILES = sorted(str(p.relative_to(FOLDER / 'configs').with_suffix('')) for p in (FOLDER / 'configs').rglob('*.yaml'))
TRAINED = [name for name in FILES if not name.startswith('Base-')]


def load(name):
    """A config with everything it inherits, as detectron2 merges `_BASE_`; how many files that took."""
    path = FOLDER / 'configs' / f'{name}.yaml'
    own = yaml.safe_load(path.read_text())
    base = own.pop('_BASE_', None)
    if base is None:
        return own, 1
    assert (path.parent / base).exists(), f'{name}: no {base}'
    merged, files = load(str((path.parent / base).resolve().relative_to(FOLDER / 'configs').with_suffix('')))
    return merge(merged, own), files + 1


def merge(base, own):
    for key, value in own.items():
        base[key] = merge(base.get(key, {}), value) if isinstance(value, dict) else value
    return base


def numbers(text):
    """A tuple as detectron2 reads it: YAML keeps `(1, 2)` as a string."""
    return list(eval(text, {'__builtins__': {}}))


# name -> images per step, rate, steps, iterations, smallest and largest side to train on
RECIPES = {
    'pascal_voc_R_50_C4_24k': (16, 0.02, [18000, 22000], 24000, 480, 800),
    'coco_R_50_C4_1x': (16, 0.02, [60000, 80000], 90000, 640, 800),
    'coco_R_50_C4_2x': (16, 0.02, [120000, 160000], 180000, 640, 800),
    'coco_R_50_FPN_1x': (16, 0.02, [60000, 80000], 90000, 640, 800),
    'coco_R_50_FPN_2x': (16, 0.02, [120000, 160000], 180000, 640, 800),
    'coco_R_50_RetinaNet_1x': (16, 0.01, [60000, 80000], 90000, 640, 800),
    'coco_R_50_RetinaNet_2x': (16, 0.01, [120000, 160000], 180000, 640, 800),
    'keypoint_rcnn_R_50_FPN_2x': (16, 0.02, [120000, 160000], 180000, 640, 800),
    'Cityscapes/mask_rcnn_R_50_FPN': (8, 0.01, [18000], 24000, 800, 1024),
    'coco_R_50_FPN_CONV_1x_moco_adam': (16, 2.5e-4, [60000, 80000], 90000, 480, 896),
}


def test_every_documented_config_is_there():
    assert {name.removesuffix('_moco') for name in TRAINED} == set(RECIPES)
    assert {f'{name}_moco' for name in RECIPES if not name.endswith('_adam')} <= set(TRAINED)


@pytest.mark.parametrize('name', TRAINED)
def test_schedule_sizes_and_tasks(name):
    cfg, files = load(name)
    assert files <= 5
    batch, rate, steps, iterations, least, most = RECIPES[name.removesuffix('_moco')]
    solver = cfg['SOLVER']
    assert (solver['IMS_PER_BATCH'], solver['BASE_LR'], numbers(solver['STEPS']), solver['MAX_ITER']) == (
        batch,
        rate,
        steps,
        iterations,
    )
    assert numbers(cfg['INPUT']['MIN_SIZE_TRAIN']) == list(range(least, most + 1, 32))
    masks = name.startswith(('coco_R_50_C4', 'coco_R_50_FPN', 'Cityscapes'))
    assert cfg['MODEL']['MASK_ON'] is masks
    assert cfg['MODEL'].get('ROI_HEADS', {}).get('NUM_CLASSES') == {'p': 20, 'k': 1, 'C': 8}.get(name[0])
    assert cfg['MODEL']['RESNETS']['DEPTH'] == 50 and cfg['VERSION'] == 2
    assert numbers(cfg['DATASETS']['TRAIN']) and numbers(cfg['DATASETS']['TEST'])


@pytest.mark.parametrize('name', [name for name in TRAINED if 'moco' in name])
def test_self_supervised_weights_get_their_pixels_and_norms(name):
    cfg, _ = load(name)
    model = cfg['MODEL']
    assert (model['PIXEL_MEAN'], model['PIXEL_STD']) == ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    assert cfg['INPUT']['FORMAT'] == 'RGB' and model['RESNETS']['STRIDE_IN_1X1'] is False
    assert not model['WEIGHTS'].endswith('.pkl')  # to be given
    if 'C4' in name:
        assert model['ROI_HEADS']['NAME'] == 'Res5ROIHeadsExtraNorm'
        assert cfg['INPUT'].get('MAX_SIZE_TRAIN') == (1200 if name.startswith('coco') else None)


@pytest.mark.parametrize('name', TRAINED)
def test_supervised_and_self_supervised_weights_are_trained_alike(name):
    """Nothing is frozen and every norm of backbone and pyramid is SyncBN, in the supervised baselines too."""
    cfg, _ = load(name)
    model = cfg['MODEL']
    assert (
        model['RESNETS']['NORM'] == 'SyncBN'
        and model['BACKBONE']['FREEZE_AT'] == 0
        and cfg['TEST']['PRECISE_BN']['ENABLED'] is True
    )
    assert 'C4' in name or model['FPN']['NORM'] == 'SyncBN'


def test_supervised_weights_keep_the_pixels_of_detectron2():
    for name in (n for n in TRAINED if 'moco' not in n):
        cfg, _ = load(name)
        assert cfg['MODEL']['WEIGHTS'] == 'detectron2://ImageNetPretrained/MSRA/R-50.pkl'
        assert 'FORMAT' not in cfg['INPUT'] and 'PIXEL_MEAN' not in cfg['MODEL']
    assert load('pascal_voc_R_50_C4_24k')[0]['SOLVER']['WARMUP_ITERS'] == 100


def test_sparks_detector():
    cfg, _ = load('coco_R_50_FPN_CONV_1x_moco_adam')
    solver, model = cfg['SOLVER'], cfg['MODEL']
    assert {
        key: solver[key]
        for key in (
            'OPTIMIZER',
            'LR_DECAY',
            'WEIGHT_DECAY',
            'WEIGHT_DECAY_NORM',
            'GAMMA',
            'WARMUP_ITERS',
            'WARMUP_FACTOR',
        )
    } == {
        'OPTIMIZER': 'adamw',
        'LR_DECAY': 0.6,
        'WEIGHT_DECAY': 1e-4,
        'WEIGHT_DECAY_NORM': 0.0,
        'GAMMA': 0.25,
        'WARMUP_ITERS': 1000,
        'WARMUP_FACTOR': 0.01,
    }
    assert {model[part]['NORM'] for part in ('RESNETS', 'FPN', 'ROI_BOX_HEAD', 'ROI_MASK_HEAD')} == {'SyncBN'}
    assert (model['ROI_BOX_HEAD']['NUM_CONV'], model['ROI_BOX_HEAD']['NUM_FC'], model['ROI_MASK_HEAD']['NUM_CONV']) == (
        4,
        1,
        4,
    )
    assert cfg['TEST'] == {'EVAL_PERIOD': 5000, 'PRECISE_BN': {'ENABLED': True, 'NUM_ITER': 200}}
    assert (cfg['INPUT']['MAX_SIZE_TRAIN'], cfg['INPUT']['MIN_SIZE_TEST'], cfg['INPUT']['CROP']['ENABLED']) == (
        1333,
        800,
        False,
    )


@pytest.mark.parametrize('case', ['r50_fpn', 'r50_c4'])
def test_decay_factors_equal_those_of_the_authors_code(case):
    golden = json.loads((GOLDEN / 'detectron2_lr_factors.json').read_text())[case]
    for name, factor in golden['lr_factor'].items():
        assert lr_factor(name, golden['dec']) == pytest.approx(factor, rel=1e-12), name


def test_decay_of_other_depths():
    assert lr_factor('backbone.bottom_up.res4.22.conv1.weight', 0.5, 101) == 0.5**2
    assert lr_factor('backbone.bottom_up.stem.conv1.weight', 0.5, 101) == 0.5**12
    assert lr_factor('backbone.bottom_up.stem.conv1.weight', 0, 152) == lr_factor('x', 1.0, 152) == 1
    with pytest.raises(ConfigError, match=r'no layers for MODEL\.RESNETS\.DEPTH=152'):
        lr_factor('x', 0.6, 152)
    with pytest.raises(ConfigError, match=r'SOLVER\.LR_DECAY=1\.5'):
        lr_factor('x', 1.5)


class Node(dict):
    """As much of a detectron2 config as `read_config` uses."""

    __getattr__, __setattr__ = dict.__getitem__, dict.__setitem__

    def merge_from_file(self, path):
        self._merge(yaml.safe_load(Path(path).read_text()))

    def merge_from_list(self, words):
        for key, value in zip(words[::2], words[1::2], strict=True):
            node, *rest = key.split('.')
            self._merge({node: {rest[0]: value}} if rest else {node: value})

    def _merge(self, values):
        for key, value in values.items():
            if key not in self:
                raise KeyError(f'Non-existent config key: {key}')
            if isinstance(self[key], Node):
                self[key]._merge(value)
            else:
                self[key] = value


class Tower(nn.Module):
    """A few parameters under detectron2's names."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.stem = nn.Module()
        self.backbone.stem.conv1 = nn.Conv2d(3, 4, 3, bias=False)
        self.backbone.stem.conv1.norm = nn.BatchNorm2d(4)
        self.backbone.res5 = nn.Sequential(nn.Conv2d(4, 4, 1))
        self.head = nn.Linear(4, 2)
        self.shared = self.head
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_groups_hold_every_trainable_parameter_once():
    groups = param_groups(
        Tower(), lr=0.1, weight_decay=1e-4, weight_decay_norm=0.0, decay=0.5, weight_decay_bias=0.5, bias_lr_factor=2.0
    )
    found = {name: (group['lr'], group['weight_decay']) for group in groups for name in group['param_names']}
    assert found == {
        'backbone.stem.conv1.weight': (0.1 * 0.5**6, 1e-4),
        'backbone.stem.conv1.norm.weight': (0.1 * 0.5**6, 0.0),
        'backbone.stem.conv1.norm.bias': (0.2 * 0.5**6, 0.0),
        'backbone.res5.0.weight': (0.1 * 0.5, 1e-4),
        'backbone.res5.0.bias': (0.2 * 0.5, 0.5),
        'head.weight': (0.1, 1e-4),
        'head.bias': (0.2, 0.5),
    }
    assert sum(len(group['params']) for group in groups) == 7
    optimizer_class('adam')(groups, lr=0.1)
    assert (
        optimizer_class('sgd') is torch.optim.SGD
        and optimizer_class('adam') is optimizer_class('ADAMW') is torch.optim.AdamW
    )
    with pytest.raises(ConfigError, match=r"SOLVER\.OPTIMIZER='adamv'.*Did you mean"):
        optimizer_class('adamv')


@pytest.mark.parametrize(
    ('name', 'kind', 'momentum'), [('sgd', torch.optim.SGD, 0.8), ('ADAMW', torch.optim.AdamW, None)]
)
def test_the_optimizer_of_a_config(monkeypatch, name, kind, momentum):
    solver = Node(
        OPTIMIZER=name,
        LR_DECAY=0.5,
        BASE_LR=0.1,
        WEIGHT_DECAY=1e-4,
        WEIGHT_DECAY_NORM=0.0,
        WEIGHT_DECAY_BIAS=None,
        BIAS_LR_FACTOR=1.0,
        MOMENTUM=0.8,
        NESTEROV=True,
    )
    module = types.ModuleType('detectron2.solver.build')
    module.maybe_add_gradient_clipping = lambda cfg, kind: kind
    for path in ('detectron2', 'detectron2.solver'):
        monkeypatch.setitem(sys.modules, path, types.ModuleType(path))
    monkeypatch.setitem(sys.modules, 'detectron2.solver.build', module)
    built = train_net.build_optimizer(Node(SOLVER=solver, MODEL=Node(RESNETS=Node(DEPTH=50))), Tower())
    assert type(built) is kind and {group.get('momentum') for group in built.param_groups} == {momentum}
    assert {(round(group['lr'], 6), group['weight_decay']) for group in built.param_groups} == {
        (round(0.1 * 0.5**6, 6), 1e-4),
        (round(0.1 * 0.5**6, 6), 0.0),
        (0.05, 1e-4),
        (0.1, 1e-4),
    }
