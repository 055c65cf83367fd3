"""ProbeHook: a linear classifier that learns beside a run, of which the run notices nothing."""

import copy
import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from selfsup.errors import CheckpointError, ConfigError, SelfSupWarning
from selfsup.evaluation.results.accuracies import MEASURED
from selfsup.hooks.probe.classifiers import WIDTH, Classifiers
from selfsup.hooks.probe.features import LAST, layer_features, untouched
from selfsup.hooks.probe.hook import ProbeHook
from selfsup.models.algorithms import Algorithm
from selfsup.registry import MODELS
from tests.distributed.helpers import run_ranks
from tests.models.tiny_models import TINY_RESNET, tiny_model
from tests.resume.runs import differences, train, write_config

STEPS = [dict(type='ToTensor'), dict(type='Normalize', mean=[0.5] * 3, std=[0.3] * 3)]
DIGITS = {
    split: dict(type='ClassificationDataset', data_source=dict(type='Digits', split=split, size=16), pipeline=STEPS)
    for split in ('train', 'test')
}
SHAKEN = {**DIGITS['train'], 'pipeline': [dict(type='RandomResizedCrop', size=16, scale=(0.6, 1.0)), *STEPS]}
PROBE = dict(type='ProbeHook', every=2, imgs_per_gpu=32, workers_per_gpu=0, **{**DIGITS, 'train': SHAKEN})
METHODS = ('MOCO', 'SimCLR', 'BYOL', 'SparK')
# A detector has no vector per image, and nothing else is watched that way.
ALGORITHMS = [name for name in MODELS.names() if issubclass(MODELS.get(name), Algorithm) and name != 'Detection']
EVERY = 'checkpoint_config.by_epoch=False'


def hooks(**changes):
    return f'custom_hooks={[{**PROBE, **changes}]}'


@pytest.fixture(scope='module')
def configs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('configs')
    return {method: write_config(folder / method, method) for method in METHODS}


def measured(path):
    """What the run of a checkpoint has measured."""
    return torch.load(path, weights_only=True)['meta'][MEASURED]


def without_probe(found):
    return [name for name in found if not name.startswith('.probe') and name != ' (keys)']


# ---- the run does not notice ----


@pytest.mark.parametrize('name', ALGORITHMS)
def test_features_of_every_method_leave_no_trace(name):
    """Modes, frozen ones too, statistics and generators are as before; dropout and running statistics would move them."""
    backbone = (
        {'type': 'TIMMBackbone', 'model_name': 'resnet10t', 'drop_path_rate': 0.5} if name == 'SimCLR' else TINY_RESNET
    )
    model = tiny_model(name, dict(backbone), 512 if name == 'SimCLR' else 64).train()
    model.backbone.get_submodule('model.bn1' if name == 'SimCLR' else 'bn1').eval()
    before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    numbers = [random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()]
    run = SimpleNamespace(model=model, device=torch.device('cpu'))
    layer = 'model.layer2' if name == 'SimCLR' else 'layer2'
    with untouched(run) as algorithm:
        assert not algorithm.backbone.training
        torch.rand(3), np.random.rand(3), random.random()
        found = layer_features(algorithm, torch.rand(2, 3, 32, 32), [layer])
    assert found[LAST].shape[0] == found[layer].shape[0] == 2 and not found[LAST].requires_grad
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes and not any(
        p.grad is not None for p in model.parameters()
    )
    assert random.getstate() == numbers[0] and (np.random.get_state()[1] == numbers[1]).all()
    assert torch.equal(torch.get_rng_state(), numbers[2])
    assert not any(module._forward_hooks for module in model.backbone.modules())


@pytest.mark.parametrize('method', ['MOCO', 'BYOL', 'SparK'])
def test_a_run_ends_in_the_same_weights_with_and_without_it(configs, tmp_path, method):
    """Two views, momentum copies and masks; all have batch norms."""
    watched = train(configs[method], tmp_path / 'watched', hooks(layers=['layer2']), 'total_epochs=2', curves=False)
    plain = train(configs[method], tmp_path / 'plain', 'total_epochs=2', curves=False)
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        assert without_probe(differences(watched / name, plain / name)) == []
    (first, last) = measured(watched / 'epoch_2.pth')
    assert first.keys() >= {'probe_top1', 'probe_top1_layer2'} and (first['epoch'], last['epoch']) == (1, 2)


def test_dropout_half_precision_and_accumulation_do_not_notice_either(configs, tmp_path):
    options = (
        EVERY,
        'use_fp16=True',
        'optimizer_config.update_interval=2',
        "model.backbone={'type': 'TIMMBackbone', 'model_name': 'resnet10t', 'drop_path_rate': 0.5, 'block_args': {}}",
        'model.neck.in_channels=512',
        'data.train.pipeline.0.size=32',
        'total_epochs=1',
    )
    watched = train(configs['SimCLR'], tmp_path / 'watched', *options, hooks(every=1), curves=False)
    plain = train(configs['SimCLR'], tmp_path / 'plain', *options, curves=False)
    assert without_probe(differences(watched / 'iter_6.pth', plain / 'iter_6.pth')) == []


def _train(config, work_dir, options, **start):
    train(config, work_dir, *options, launcher='pytorch', curves=False, **start)


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_do_not_notice_and_resume_exactly(configs, tmp_path):
    options = (EVERY, 'data.imgs_per_gpu=2', 'total_epochs=2')
    both = (*options, hooks(imgs_per_gpu=16, workers_per_gpu=1))
    run_ranks(_train, 2, configs['MOCO'], tmp_path / 'plain', options, init_group=False, timeout=400)
    run_ranks(_train, 2, configs['MOCO'], tmp_path / 'watched', both, init_group=False, timeout=400)
    assert without_probe(differences(*(tmp_path / run / 'iter_12.pth' for run in ('watched', 'plain')))) == []
    run_ranks(_stopped, 2, configs['MOCO'], tmp_path / 'part', both, 9, init_group=False, timeout=400)
    run_ranks(_resumed, 2, configs['MOCO'], tmp_path / 'part', both, init_group=False, timeout=400)
    assert differences(tmp_path / 'watched/iter_12.pth', tmp_path / 'part/iter_12.pth') == []
    assert measured(tmp_path / 'part/iter_12.pth') == measured(tmp_path / 'watched/iter_12.pth')


def _stopped(config, work_dir, options, stop):
    _train(config, work_dir, options, stop_after=stop)


def _resumed(config, work_dir, options):
    _train(config, work_dir, options, auto_resume=True)


# ---- what it learns ----


def test_it_learns_and_its_number_is_in_log_curves_and_checkpoint(configs, tmp_path):
    """Nothing moves but the classifier: its accuracy is that of a linear layer on random features, far above chance."""
    frozen = 'optimizer.lr=0'
    work_dir = train(
        configs['SimCLR'],
        tmp_path,
        hooks(every=1, lr=0.05),
        frozen,
        'optimizer.weight_decay=0',
        'lr_config.min_lr=0',
        'total_epochs=8',
    )
    found = measured(work_dir / 'epoch_8.pth')
    assert 40 < found[-1]['probe_top1'] <= 100 and found[0]['probe_top1'] < found[-1]['probe_top1']
    lines = [json.loads(x) for f in work_dir.glob('*/vis_data/2*.json') for x in f.read_text().splitlines()]
    assert [x['probe_top1'] for x in lines if 'probe_top1' in x] == pytest.approx([x['probe_top1'] for x in found])
    assert any('probe_loss' in x for x in lines)
    text = ''.join(f.read_text() for f in work_dir.glob('*/*.log'))
    assert f'ProbeHook after epoch 8: probe_top1: {found[-1]["probe_top1"]:.2f}' in text


@pytest.mark.dist
def test_two_processes_are_one(configs, tmp_path):
    """Same global batches of both loaders, and a network that stands still: the same classifier up to rounding."""
    still = ('optimizer.lr=0', 'optimizer.weight_decay=0', 'lr_config.min_lr=0', 'model.backbone.norm_eval=True')
    train(configs['SimCLR'], tmp_path / 'one', *still, 'total_epochs=1', hooks(every=1), curves=False)
    two = (*still, 'total_epochs=1', 'data.imgs_per_gpu=2', hooks(every=1, imgs_per_gpu=16))
    run_ranks(_train, 2, configs['SimCLR'], tmp_path / 'two', two, init_group=False, timeout=400)
    one, two = (torch.load(tmp_path / run / 'epoch_1.pth', weights_only=True) for run in ('one', 'two'))
    assert two['probe'].pop('layers') == one['probe'].pop('layers') == ['']
    torch.testing.assert_close(two['probe'], one['probe'], rtol=1e-4, atol=1e-5)
    assert two['meta'][MEASURED][0]['probe_top1'] == pytest.approx(one['meta'][MEASURED][0]['probe_top1'], abs=0.3)


def test_the_scale_of_the_features_does_not_matter_and_layers_do_not_meet():
    generator = torch.Generator().manual_seed(0)
    x, labels = torch.randn(64, 5, generator=generator), torch.randint(3, (64,), generator=generator)
    other = torch.randn(64, 2, generator=generator)
    both = Classifiers({LAST: 5, 'layer1': 2}, 3, 0.1, torch.device('cpu'))
    alone = Classifiers({LAST: 5}, 3, 0.1, torch.device('cpu'))
    for _ in range(5):
        losses = both.step({LAST: 1000 * x, 'layer1': other}, labels)
        single = alone.step({LAST: x}, labels)
    assert float(losses[LAST]) == pytest.approx(float(single[LAST]), abs=1e-5)
    assert torch.equal(both.predict({LAST: 1000 * x, 'layer1': other})[LAST], alone.predict({LAST: x})[LAST])


def test_a_step_is_that_of_torch():
    """By hand: batch norm of the batch, cross entropy, SGD with momentum 0.9."""
    generator = torch.Generator().manual_seed(1)
    x, labels = torch.randn(16, 4, generator=generator) * 3 + 1, torch.randint(3, (16,), generator=generator)
    classifiers = Classifiers({LAST: 4}, 3, 0.1, torch.device('cpu'))
    weight, bias = torch.zeros(3, 4), torch.zeros(3)
    speed = [torch.zeros(3, 4), torch.zeros(3)]
    normed = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()
    for _ in range(3):
        classifiers.step({LAST: x}, labels)
        error = (normed @ weight.T + bias).softmax(1) - torch.nn.functional.one_hot(labels, 3)
        speed = [0.9 * speed[0] + error.T @ normed / 16, 0.9 * speed[1] + error.mean(0)]
        weight, bias = weight - 0.1 * WIDTH / 4 * speed[0], bias - 0.1 * speed[1]
    torch.testing.assert_close(classifiers.model[0][1].weight.detach(), weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(classifiers.model[0][1].bias.detach(), bias, rtol=1e-4, atol=1e-5)


# ---- resume ----


@pytest.mark.parametrize('stop', [3, 9])
def test_a_resumed_run_gives_the_same_accuracy_bit_for_bit(configs, tmp_path, stop):
    options = (EVERY, hooks(every=2, layers=['layer1']))
    straight = train(configs['MOCO'], tmp_path / 'straight', *options, curves=False)
    part = train(configs['MOCO'], tmp_path / 'part', *options, stop_after=stop, curves=False)
    train(configs['MOCO'], part, *options, auto_resume=True, curves=False)
    assert differences(straight / 'iter_18.pth', part / 'iter_18.pth') == []
    assert measured(straight / 'iter_18.pth') == measured(part / 'iter_18.pth')
    assert [line['epoch'] for line in measured(part / 'iter_18.pth')] == [1, 2]


def test_it_may_come_go_and_change_on_resume(configs, tmp_path):
    options = (EVERY, 'total_epochs=2')
    plain = train(configs['MOCO'], tmp_path / 'plain', *options, curves=False)
    part = train(configs['MOCO'], tmp_path / 'part', *options, stop_after=4, curves=False)
    train(configs['MOCO'], part, *options, hooks(), stop_after=8, auto_resume=True, curves=False)
    train(configs['MOCO'], part, *options, hooks(layers=['layer3']), stop_after=10, auto_resume=True, curves=False)
    assert 'for other layers' in ''.join(f.read_text() for f in part.glob('*/*.log'))
    state = torch.load(part / 'iter_10.pth', weights_only=True)['probe']
    assert state['layers'] == ['', 'layer3'] and state['steps'] == 1
    train(configs['MOCO'], part, *options, auto_resume=True, curves=False)
    assert without_probe(differences(plain / 'iter_12.pth', part / 'iter_12.pth')) == []


@pytest.mark.parametrize('state', [3, {}, {'layers': [''], 'steps': -1, 'weights': {}, 'momentum': {}}])
def test_a_state_that_is_none_is_refused(configs, tmp_path, state):
    work_dir = train(configs['MOCO'], tmp_path / 'run', EVERY, hooks(), stop_after=2, curves=False)
    saved = torch.load(work_dir / 'iter_2.pth', weights_only=True)
    torch.save({**saved, 'probe': state}, tmp_path / 'edited.pth')
    with pytest.raises(CheckpointError, match=r"edited\.pth: 'probe' is not what a ProbeHook has written"):
        train(configs['MOCO'], tmp_path / 'other', EVERY, hooks(), resume_from=str(tmp_path / 'edited.pth'))


def test_classifiers_that_diverged_begin_anew_and_those_that_never_learn_are_told_of(configs, tmp_path):
    work_dir = train(configs['MOCO'], tmp_path / 'run', EVERY, hooks(), stop_after=2, curves=False)
    saved = torch.load(work_dir / 'iter_2.pth', weights_only=True)
    saved['probe']['weights']['0.1.bias'].fill_(float('nan'))
    torch.save(saved, tmp_path / 'edited.pth')
    options = (EVERY, 'total_epochs=1', hooks(every=7))
    with pytest.warns(SelfSupWarning, match='has 6 iterations, so classifiers with every=7 learn nothing'):
        train(configs['MOCO'], tmp_path / 'on', *options, resume_from=str(tmp_path / 'edited.pth'), curves=False)
    assert 'or have diverged' in ''.join(f.read_text() for f in (tmp_path / 'on').glob('*/*.log'))
    assert torch.load(tmp_path / 'on' / 'iter_6.pth', weights_only=True)['probe']['steps'] == 0


# ---- what is refused ----


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'layers': ['layer5']}, r"the ResNet has no module 'layer5'. Did you mean 'layer4' or "),
        ({'train': {**DIGITS['train'], 'type': 'ExtractDataset'}}, 'needs images with labels'),
        ({'every': 0}, 'every'),
        ({'imgs_per_gpu': 1}, 'imgs_per_gpu'),
    ],
)
def test_what_cannot_be_probed_is_refused_before_training(configs, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        train(configs['MOCO'], tmp_path, hooks(**changes), curves=False)
    assert not list(tmp_path.glob('*.pth'))


def test_two_of_them_are_refused(configs, tmp_path):
    with pytest.raises(ConfigError, match='holds two ProbeHooks'):
        train(configs['MOCO'], tmp_path, f'custom_hooks={[PROBE, PROBE]}', curves=False)


def test_its_order_is_another_than_that_of_the_run():
    """A stream of its own: the same seed would show the probe each image as the run sees it."""
    from selfsup.hooks.probe.hook import _STREAM

    assert int(np.random.SeedSequence([0, *_STREAM]).generate_state(1)[0]) != 0 and ProbeHook.only_watches
