"""Parameter groups by name pattern."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from selfsup.config import compile_config, load
from selfsup.errors import ConfigError, SelfSupWarning, UnknownNameError
from selfsup.optim.lars import LARS
from selfsup.optim.paramwise import param_groups
from selfsup.weights.layouts.fcmae import our_name, to_ours
from selfsup.weights.read import read_checkpoint
from selfsup.weights.write import write_checkpoint_atomic

GOLDEN = json.loads((Path(__file__).parents[1] / 'golden' / 'openselfsup_param_groups.json').read_text())
NAMES = Path(__file__).parents[1] / 'golden'
CONFIGS = Path(__file__).parents[2] / 'configs' / 'selfsup'
SPARK, TIMM, SIMCLR = (
    compile_config(load(str(CONFIGS / name)))['optim_wrapper']['paramwise_options']
    for name in ('spark/r50.py', 'fcmae/tiny.py', 'simclr/r50_bs256_ep200.py')
)


class Named(nn.Module):
    """A module whose parameters have the given dotted names."""

    def __init__(self, names):
        super().__init__()
        for name in names:
            module, parts = self, name.split('.')
            for part in parts[:-1]:
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module._modules[part]
            module.register_parameter(parts[-1], nn.Parameter(torch.ones(2)))


@pytest.fixture
def model():
    return Named(
        ['backbone.conv1.weight', 'backbone.bn1.weight', 'backbone.bn1.bias', 'head.fc.weight', 'head.fc.bias']
    )


def _by_name(groups) -> dict[str, dict]:
    return {
        name: {k: v for k, v in g.items() if k not in ('params', 'param_names')}
        for g in groups
        for name in g['param_names']
    }


@pytest.mark.parametrize('prefix', ['', 'module.'], ids=['plain', 'wrapped'])
def test_golden_simclr_groups(prefix):
    expected = GOLDEN['simclr_r50']
    cfg = {'type': 'LARS', 'lr': 0.3, 'weight_decay': 1e-6, 'momentum': 0.9}
    groups = param_groups(Named([prefix + name for name in expected]), cfg, SIMCLR)
    optimizer = LARS(groups, **{k: v for k, v in cfg.items() if k != 'type'})
    found = _by_name(optimizer.param_groups)
    assert set(found) == set(expected)
    for name, options in expected.items():
        assert {k: found[name][k] for k in options} == options, name
    assert len(groups) == 2  # equal options share a group


class Parts(nn.Module):
    """Parameters of the given names and shapes, on no device."""

    def __init__(self, shapes):
        super().__init__()
        self._shapes = shapes

    def named_parameters(self, *args, **kwargs):
        return ((name, nn.Parameter(torch.empty(shape, device='meta'))) for name, shape in self._shapes.items())


@pytest.mark.parametrize('kind', ['basic', 'bottleneck', 'convnext'])
def test_golden_spark_groups(kind):
    """SparK: no weight decay for what has one axis or is called so; names and shapes are those of the official checkpoint."""
    module = torch.load(NAMES / f'spark_{kind}_model.pt', weights_only=True)['module']
    decayed, free = (group['params'] for group in json.loads((NAMES / 'spark_param_groups.json').read_text())[kind])
    shapes = {name: module[name].shape for name in (*decayed, *free)}
    options = _by_name(param_groups(Parts(shapes), {'type': 'LAMB', 'lr': 1e-3, 'weight_decay': 0.04}, SPARK))
    assert {name for name, found in options.items() if found == {}} == set(decayed)
    assert {name for name, found in options.items() if found == {'weight_decay': 0.0}} == set(free)


def test_golden_fcmae_groups():
    """timm's rule on our names and shapes; the golden names are those of the official sparse encoder, whose biases have two axes."""
    expected = json.loads((NAMES / 'param_groups.json').read_text())['fcmae_pretrain_tiny']['params']
    official = torch.load(NAMES / 'fcmae_model.pt', weights_only=True)['model']
    shapes = {name: value.shape for name, value in to_ours(official).items()}
    options = _by_name(param_groups(Parts(shapes), {'type': 'AdamW', 'lr': 1e-3, 'weight_decay': 0.05}, TIMM))
    found = {name: chosen.get('weight_decay', 0.05) for name, chosen in options.items()}
    assert found == {our_name(name): decay for name, decay in expected.items()}


def test_max_ndim_narrows_a_pattern(model):
    options = {'bias': {'max_ndim': 1, 'weight_decay': 0.0}, 'weight': {'max_ndim': 0, 'lr': 2.0}}
    with pytest.warns(SelfSupWarning, match="'weight' matches no parameter"):
        groups = _by_name(param_groups(model, {'lr': 1.0}, options))
    assert groups['head.fc.bias'] == {'weight_decay': 0.0} and groups['head.fc.weight'] == {}


def test_order_and_overriding(model):
    cfg = {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9, 'weight_decay': 1e-4}
    options = _by_name(
        param_groups(
            model,
            cfg,
            {
                'weight': {'lr_mult': 10, 'weight_decay_mult': 0.5},
                r'\Ahead.': {'lr': 0.7, 'momentum': 0.0},
                'bias': {'lr_mult': 2, 'momentum_mult': 0.5},
            },
        )
    )
    assert options['backbone.conv1.weight'] == {'lr': pytest.approx(1.0), 'weight_decay': pytest.approx(5e-5)}
    assert options['head.fc.weight'] == {'lr': 0.7, 'weight_decay': pytest.approx(5e-5), 'momentum': 0.0}
    # Later wins, option by option.
    assert options['head.fc.bias'] == {'lr': pytest.approx(0.2), 'momentum': pytest.approx(0.45)}
    assert options['backbone.bn1.bias'] == {'lr': pytest.approx(0.2), 'momentum': pytest.approx(0.45)}


def test_frozen_left_out_and_merged_in_order(model):
    model.get_parameter('backbone.conv1.weight').requires_grad = False
    groups = param_groups(model, {'lr': 1.0}, {'bias': {'weight_decay': 0.0}})
    assert [g['param_names'] for g in groups] == [
        ['backbone.bn1.weight', 'head.fc.weight'],
        ['backbone.bn1.bias', 'head.fc.bias'],
    ]
    assert all(p is model.get_parameter(n) for g in groups for p, n in zip(g['params'], g['param_names'], strict=True))
    for p in model.parameters():
        p.requires_grad = False
    with pytest.raises(ConfigError, match='all 5 are frozen'):
        param_groups(model, {'lr': 1.0}, None)


@pytest.mark.parametrize(
    'build',
    [
        lambda g: torch.optim.SGD(g, lr=0.1, momentum=0.9),
        lambda g: torch.optim.AdamW(g, lr=0.1),
        lambda g: LARS(g, lr=0.1, momentum=0.9),
    ],
    ids=['SGD', 'AdamW', 'LARS'],
)
def test_state_dict_round_trip_through_a_file(model, build, tmp_path):
    optimizer = build(param_groups(model, {'lr': 0.1}, {'bias': {'weight_decay': 0.0}}))
    sum(p.sum() for p in model.parameters()).backward()
    optimizer.step()
    path = write_checkpoint_atomic({'optimizer': optimizer.state_dict()}, tmp_path / 'x.pth')
    other = build(param_groups(model, {'lr': 0.1}, {'bias': {'weight_decay': 0.0}}))
    other.load_state_dict(read_checkpoint(path)['optimizer'])
    assert [g['param_names'] for g in other.param_groups] == [g['param_names'] for g in optimizer.param_groups]
    assert len(other.state_dict()['state']) == 5
    assert all(type(n) is str for g in other.state_dict()['param_groups'] for n in g['param_names'])


def test_pattern_without_match_warns_with_near_names(model):
    with pytest.warns(SelfSupWarning) as caught:
        param_groups(model, {'lr': 1.0}, {r'\Ahed.': {'lr': 2.0}, 'norm_decay': {'lr': 1.0}, 'bias': {'lr': 3.0}})
    texts = [str(w.message) for w in caught]
    assert len(texts) == 2 and "'\\\\Ahed.' matches no parameter" in texts[0] and "'head.fc.weight'" in texts[0]
    with warnings.catch_warnings():  # a pattern that meets frozen parameters only has been spelt right
        warnings.simplefilter('error')
        model.head.requires_grad_(False)
        param_groups(model, {'lr': 1.0}, {r'\Ahead.': {'lr': 2.0}})


def test_lars_exclude_elsewhere_warns_once_and_is_dropped(model):
    with pytest.warns(SelfSupWarning, match="lars_exclude belongs to LARS; type='SGD' ignores it") as caught:
        groups = param_groups(
            model, {'type': 'SGD', 'lr': 1.0, 'weight_decay': 0.1}, {'backbone': {'lars_exclude': True}, **SIMCLR}
        )
    assert len(caught) == 1 and not any('lars_exclude' in g for g in groups)


@pytest.mark.parametrize(
    'cfg, options, message',
    [
        (
            {'lr': 1.0},
            {'bias': {'weight_decay_mult': 0.0}},
            'multiplies the weight_decay of the optimizer, which is not given',
        ),
        ({'lr': 1.0}, {'bias': {'weight_decy': 0.0}}, "unknown option 'weight_decy'. Did you mean 'weight_decay'"),
        ({'lr': 1.0}, {'(bias': {'lr': 1.0}}, "'(bias' is no regular expression"),
        ({'lr': 1.0}, {'bias': 0.0}, 'is a dict, for example'),
        ({'lr': 1.0}, {'bias': {'lr': '1'}}, 'a number >= 0'),
        ({'lr': 1.0}, {'bias': {'lr': True}}, 'a number >= 0'),
        ({'lr': 1.0}, {'bias': {'lars_exclude': 1}}, 'True or False'),
        ({'lr': 1.0}, {'bias': {'max_ndim': 1.0}}, 'a whole number >= 0'),
        ({'lr': 1.0}, {'bias': {'max_ndm': 1}}, "Did you mean 'max_ndim'"),
        ({'lr': 1.0, 'type': 'AdamW'}, {'bias': {'momentum': 0.0}}, "type='AdamW' has no momentum"),
        ({'lr': 1.0}, ['bias'], 'is a dict of pattern'),
    ],
)
def test_errors(model, cfg, options, message):
    with pytest.raises(ConfigError) as error:
        param_groups(model, cfg, options)
    assert message in str(error.value) and '\n' not in str(error.value)


def test_unknown_optimizer(model):
    with pytest.raises(UnknownNameError, match="Did you mean 'LARS'"):
        param_groups(model, {'type': 'LARZ', 'lr': 1.0}, {'bias': {'lr': 0.0}})
