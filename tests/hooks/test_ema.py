"""EMAHook: its numbers, its evaluation, its place in checkpoints. With sparse training: test_sparse_training.py."""

import json

import pytest
import torch
from mmengine.hooks import Hook

from selfsup.engine import unwrap
from selfsup.errors import CheckpointError, ConfigError
from selfsup.hooks.ema_hook import EMAHook
from selfsup.models.backbones import ResNet
from selfsup.registry import HOOKS
from selfsup.weights.extract import extract_backbone
from selfsup.weights.load import load_model
from tests.resume.runs import differences, train, write_config

from .test_evaluation_hooks import DIGITS

EVERY = 'checkpoint_config.by_epoch=False'
KNN = dict(type='KNNHook', k=5, **DIGITS)


class Reference(Hook):
    """The average of every step, from its definition."""

    priority = 'LOWEST'

    def before_train(self, runner):
        self.ema = next(hook for hook in runner.hooks if isinstance(hook, EMAHook))
        self.expected, self.step = None, 0

    def after_train_iter(self, runner, **kwargs):
        if runner.train_loop.stepped:
            self.step += 1
            momentum = min(0.9, self.step / (self.step + 9)) if self.ema.warmup else 0.9
            state = {name: value.clone() for name, value in unwrap(runner.model).state_dict().items()}
            self.expected = self.expected or state
            for name, value in state.items():
                old = self.expected[name]
                self.expected[name] = momentum * old + (1 - momentum) * value if value.is_floating_point() else value
        if self.expected:
            found = self.ema.average.module.state_dict()
            assert list(found) == list(self.expected)
            for name, value in self.expected.items():
                torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)
        assert self.ema.steps == self.step


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp('config'))


@pytest.fixture(scope='module')
def trained(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp('trained')
    hooks = [KNN, {'type': 'EMAHook', 'momentum': 0.9}]  # evaluated after the average has moved, whatever the order
    return train(config, folder, f'custom_hooks={hooks}')


@pytest.mark.parametrize('more', [(), ('optimizer_config.update_interval=4',)])
@pytest.mark.parametrize('warmup', [False, True])
def test_the_average_follows_its_formula(config, tmp_path, warmup, more):
    HOOKS.register_module(name='ReferenceAverage', module=Reference, force=True)
    hooks = [{'type': 'ReferenceAverage'}, {'type': 'EMAHook', 'momentum': 0.9, 'warmup': warmup}]
    train(config, tmp_path, f'custom_hooks={hooks}', 'use_fp16=True', *more, curves=False)


def test_it_resumes_exactly(config, tmp_path):
    options = (EVERY, f'custom_hooks={[{"type": "EMAHook", "momentum": 0.9, "warmup": True}]}')
    straight = train(config, tmp_path / 'straight', *options, curves=False)
    part = train(config, tmp_path / 'part', *options, stop_after=7, curves=False)
    train(config, part, *options, auto_resume=True, curves=False)
    assert differences(straight / 'iter_18.pth', part / 'iter_18.pth') == []
    assert torch.load(part / 'iter_18.pth', weights_only=True)['ema']['steps'] == 18


def test_both_networks_are_evaluated_and_training_does_not_notice(config, trained, tmp_path):
    rows = [json.loads(line) for file in trained.glob('*/vis_data/2*.json') for line in file.read_text().splitlines()]
    rows = [row for row in rows if 'knn_5' in row]
    assert ['ema_knn_5' in row for row in rows] == [False, True, True, True]  # nothing to average before the first step
    assert any(row['knn_5'] != row['ema_knn_5'] for row in rows[1:])
    silent = train(
        config, tmp_path / 'silent', f'custom_hooks={[KNN, {"type": "EMAHook", "momentum": 0.9, "evaluate": False}]}'
    )
    text = ''.join(file.read_text() for file in silent.glob('*/vis_data/2*.json'))
    assert 'ema_knn_5' not in text and 'knn_5' in text
    assert differences(trained / 'epoch_3.pth', silent / 'epoch_3.pth') == []
    plain = train(config, tmp_path / 'plain', curves=False)
    a, b = (torch.load(folder / 'epoch_3.pth', weights_only=True)['state_dict'] for folder in (trained, plain))
    assert all(torch.equal(a[name], b[name]) for name in b)


def test_the_average_is_loaded_and_extracted(config, trained, tmp_path):
    from selfsup.config import compile_config, load
    from selfsup.registry import MODELS

    path = trained / 'epoch_3.pth'
    average = torch.load(path, weights_only=True)['ema']['state_dict']
    model = MODELS.build(compile_config(load(str(config)))['model'])
    load_model(model, str(path), strict=True, average=True)
    assert all(torch.equal(value, average[name]) for name, value in model.state_dict().items())
    load_model(model, str(path), strict=True)
    assert not torch.equal(model.backbone.conv1.weight, average['backbone.conv1.weight'])
    extract_backbone(path, tmp_path / 'average.pth', average=True)
    weights = torch.load(tmp_path / 'average.pth', weights_only=True)['state_dict']
    ResNet(depth=18, stage_blocks=(1, 1, 1, 1), base_channels=4, stem='cifar').load_state_dict(weights)
    assert all(torch.equal(value, average[f'backbone.{name}']) for name, value in weights.items())


def test_two_averages_are_refused(config, tmp_path):
    hooks = [{'type': 'EMAHook', 'momentum': 0.9}, {'type': 'EMAHook', 'momentum': 0.99}]
    with pytest.raises(ConfigError, match='a checkpoint keeps one average'):
        train(config, tmp_path, f'custom_hooks={hooks}', curves=False)


def test_no_average_to_take(config, tmp_path):
    plain = train(config, tmp_path / 'plain', 'total_epochs=1', curves=False)
    with pytest.raises(CheckpointError, match=r'epoch_1\.pth holds no moving average.*Leave out --ema'):
        extract_backbone(plain / 'epoch_1.pth', tmp_path / 'x.pth', average=True)
