"""Whole tiny runs: what they write, what they refuse, how they stop."""

import json
import math
import re
import shutil
import subprocess
import sys

import pytest
import torch

from selfsup.errors import CheckpointError, ConfigError, DataError, ShapeError, TrainingError
from tests.resume.runs import differences, train, write_config


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp('config'))


@pytest.fixture(scope='module')
def finished(config, tmp_path_factory):
    return train(config, tmp_path_factory.mktemp('run') / 'work', 'total_epochs=2')


def test_what_a_run_leaves_behind(config, finished):
    assert sorted(p.name for p in finished.glob('*.pth')) == ['epoch_1.pth', 'epoch_2.pth', 'latest.pth']
    assert (finished / 'latest.pth').resolve() == (finished / 'epoch_2.pth').resolve()
    assert (finished / config.name).exists()
    (logs,) = (p for p in finished.iterdir() if p.is_dir())
    env = json.loads((logs / 'environment.json').read_text())
    assert env['torch'] == torch.__version__ and env['command'] and env['git_commit'] and env['seed'] == '0'
    assert list(logs.rglob('events.out.tfevents*'))
    text = next(logs.glob('*.log')).read_text()
    assert re.search(r'Epoch\(train\) +\[1\]\[6/6\].*lr: .*eta: .*loss: ', text)
    lines = [json.loads(x) for x in next(logs.glob('vis_data/2*.json')).read_text().splitlines()]
    assert {'lr', 'loss', 'acc', 'iter', 'epoch', 'embedding_std', 'embedding_rank'} <= set(lines[-1])
    assert all(math.isfinite(x['loss']) for x in lines)


def test_checkpoints_hold_only_plain_values(finished):
    checkpoint = torch.load(finished / 'epoch_2.pth', weights_only=True)
    assert list(checkpoint) == ['meta', 'state_dict', 'optimizer', 'param_schedulers']
    assert (checkpoint['meta']['epoch'], checkpoint['meta']['iter']) == (2, 12)
    assert 'queue' in checkpoint['state_dict'] and 'backbone.conv1.weight' in checkpoint['state_dict']


def test_a_used_work_dir_is_refused_then_started_over(config, finished, tmp_path):
    work_dir = tmp_path / 'work'
    train(config, work_dir, 'total_epochs=1')
    before = (work_dir / 'epoch_1.pth').read_bytes()
    with pytest.raises(
        CheckpointError,
        match=r'holds checkpoints of an earlier run \(newest: epoch_1.pth\).*--auto_resume.*--start_over',
    ):
        train(config, work_dir, 'total_epochs=1')
    assert (work_dir / 'epoch_1.pth').read_bytes() == before
    train(config, work_dir, 'total_epochs=1', start_over=True)
    (kept,) = work_dir.glob('previous_*/epoch_1.pth')
    assert kept.read_bytes() == before


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('data.imgs_per_gpu=3', r'batch size per process was 4 and is 3 \(set data.imgs_per_gpu=4\)'),
        ('optimizer_config.update_interval=2', r'update_interval was 1 and is 2'),
        ("optimizer={'type': 'SGD', 'lr': 0.1}", r"optimizer was AdamW and is SGD \(set optimizer.type='AdamW'\)"),
    ],
)
def test_a_resume_that_could_not_be_exact_is_refused(config, finished, tmp_path, option, message):
    with pytest.raises(CheckpointError, match=f'Cannot resume .*{message}'):
        train(config, tmp_path, option, resume_from=str(finished / 'epoch_1.pth'))


def test_another_seed_is_refused_on_resume(config, finished, tmp_path):
    with pytest.raises(CheckpointError, match=r'seed was 0 and is 5 \(pass --seed 0\)'):
        train(config, tmp_path, resume_from=str(finished / 'epoch_1.pth'), seed=5)


def test_other_pretrained_weights_are_refused_on_resume(config, finished, tmp_path):
    """They would be ignored, and a protocol would record them as what was judged."""

    def start(weights, epochs):
        return train(
            config, tmp_path / 'work', f"model.pretrained='{weights}'", f'total_epochs={epochs}', auto_resume=True
        )

    first, other = finished / 'epoch_1.pth', finished / 'epoch_2.pth'
    start(first, 1)
    with pytest.raises(
        CheckpointError,
        match=r'SHA-256 of the pretrained weights was \w{64} and is \w{64} \(give --pretrained the file',
    ):
        start(other, 2)
    train(config, tmp_path / 'work', 'total_epochs=2', auto_resume=True)  # need not be named again
    start(shutil.copy(first, tmp_path / 'copy.pth'), 3)
    with pytest.raises(CheckpointError, match='SHA-256 of the pretrained weights was None and is'):
        train(config, tmp_path / 'plain', f"model.pretrained='{first}'", resume_from=str(first))


def test_another_model_is_refused_on_resume_and_on_load(config, finished, tmp_path):
    wider = 'model.queue_len=30'
    with pytest.raises(
        CheckpointError, match=r'is not a checkpoint of MOCO as configured: 1 tensors have another shape \(queue'
    ):
        train(config, tmp_path / 'a', wider, resume_from=str(finished / 'epoch_1.pth'))
    with pytest.raises(CheckpointError, match='another shape'):
        train(config, tmp_path / 'b', wider, f"load_from='{finished / 'epoch_1.pth'}'")


def test_weights_without_training_state_cannot_be_resumed(config, finished, tmp_path):
    torch.save(
        {'state_dict': torch.load(finished / 'epoch_1.pth', weights_only=True)['state_dict']}, tmp_path / 'w.pth'
    )
    with pytest.raises(CheckpointError, match=r'holds weights but no training state.*--pretrained'):
        train(config, tmp_path / 'run', resume_from=str(tmp_path / 'w.pth'))


def test_auto_resume_passes_over_a_damaged_file(config, tmp_path, caplog):
    straight = train(config, tmp_path / 'straight')
    part = train(config, tmp_path / 'part', stop_after=13)
    newest = part / 'epoch_2.pth'
    newest.write_bytes(newest.read_bytes()[:1000])
    train(config, part, auto_resume=True)
    assert differences(straight / 'epoch_3.pth', part / 'epoch_3.pth') == []
    for path in part.glob('epoch_*.pth'):
        path.write_bytes(b'broken')
    with pytest.raises(CheckpointError, match=r'None of the 3 checkpoints in .* can be read'):
        train(config, part, auto_resume=True)


def test_a_loss_that_is_not_finite_stops_the_run(config, tmp_path):
    message = r'The loss is not finite at iteration \d+ \(epoch \d, learning rate 1e\+\d+\).*epoch_1.pth.*Lower the'
    with pytest.raises(TrainingError, match=message):
        train(
            config,
            tmp_path,
            'optimizer.lr=1e18',
            'lr_config={"policy": "step", "step": [9], "warmup": "constant", "warmup_iters": 6, "warmup_ratio": 1e-30}',
        )
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['state_dict']
    assert all(torch.isfinite(v).all() for v in saved.values() if v.is_floating_point())
    assert not (tmp_path / 'epoch_2.pth').exists()


def test_weights_that_are_not_finite_never_replace_good_ones(config, tmp_path):
    """A NaN that the loss does not show: the weight of a layer whose output is not used."""
    register_spoiler()
    with pytest.raises(
        TrainingError, match=r'not finite after iteration 12: spoiled; the last good checkpoint is .*epoch_1.pth'
    ):
        train(config, tmp_path, "custom_hooks=[dict(type='Spoiler', at=9)]")
    assert sorted(p.name for p in tmp_path.glob('epoch_*.pth')) == ['epoch_1.pth']


def register_spoiler():
    from mmengine.hooks import Hook

    from selfsup.registry import HOOKS

    class Spoiler(Hook):
        def __init__(self, at):
            self.at = at

        def before_train(self, runner):
            runner.model.register_parameter('spoiled', torch.nn.Parameter(torch.zeros(2)))

        def after_train_iter(self, runner, **kwargs):
            if runner.iter == self.at:
                runner.model.spoiled.data[0] = float('nan')

    HOOKS.register_module(module=Spoiler, force=True)


def test_a_full_disk_keeps_the_last_checkpoint(config, tmp_path, monkeypatch):
    import selfsup.weights.write as io

    real, calls = io.torch.save, []

    def fills_up(obj, file, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            file.write(b'x' * 100)
            raise OSError(28, 'No space left on device')
        return real(obj, file, *args, **kwargs)

    straight = train(config, tmp_path / 'straight')
    monkeypatch.setattr(io.torch, 'save', fills_up)
    with pytest.raises(
        CheckpointError, match=r'epoch_2.pth could not be written: No space left.*last good checkpoint is .*epoch_1.pth'
    ):
        train(config, tmp_path / 'full', 'checkpoint_config.max_keep_ckpts=1')
    assert sorted(p.name for p in (tmp_path / 'full').glob('*.pth')) == ['epoch_1.pth', 'latest.pth']
    assert not list((tmp_path / 'full').glob('.*.tmp'))
    train(config, tmp_path / 'full', 'checkpoint_config.max_keep_ckpts=1', auto_resume=True)
    assert differences(straight / 'epoch_3.pth', tmp_path / 'full' / 'epoch_3.pth') == []


def test_old_checkpoints_rotate(config, tmp_path):
    train(config, tmp_path, 'checkpoint_config.max_keep_ckpts=2')
    assert sorted(p.name for p in tmp_path.glob('epoch_*')) == ['epoch_2.pth', 'epoch_3.pth']


def test_a_queue_shorter_than_the_batch(config, tmp_path):
    with pytest.raises(ShapeError, match='queue_len=3 keys, fewer than one global batch of 4'):
        train(config, tmp_path, 'model.queue_len=3')


DIGITS = {'type': 'ClassificationDataset', 'data_source': {'type': 'Digits'}, 'pipeline': [{'type': 'ToTensor'}]}


@pytest.mark.parametrize(
    'dataset',
    [
        DIGITS,
        {'type': 'ConcatDataset', 'datasets': [DIGITS, DIGITS]},
        {'type': 'RepeatDataset', 'dataset': DIGITS, 'times': 2},
    ],
    ids=lambda d: d['type'],
)
def test_more_classes_than_the_head_has(dataset, config, tmp_path):
    backbone = (
        "dict(type='ResNet', depth=18, stage_blocks=(1, 1, 1, 1), base_channels=4, stem='cifar', out_indices=(4,))"
    )
    options = (
        f"model=dict(type='Classification', backbone={backbone}, head=dict(type='ClsHead', in_channels=32, num_classes=9))",
        f'data.train={dataset}',
    )
    with pytest.raises(
        ShapeError, match=r'The training images have 10 classes, but model.head.num_classes=9: set it to 10 or more'
    ):
        train(config, tmp_path, *options)


@pytest.mark.parametrize('seed', [-1, 2**32])
def test_a_seed_that_is_none(config, tmp_path, seed):
    with pytest.raises(ConfigError, match=f'seed={seed} must lie between'):
        train(config, tmp_path, seed=seed)


def test_an_optimizer_that_refuses_its_arguments(config, tmp_path):
    with pytest.raises(
        ConfigError, match=r"^optimizer type='AdamW' could not be built from .*: Invalid beta parameter at index 0: 2"
    ):
        train(config, tmp_path, 'optimizer.betas=(2, 3)')


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (
            "param_scheduler=[{'type': 'CosineAnnealingLR', 'T_max': 2, 'by_epoch': False, 'convert_to_iter_based': True}]",
            r"^param_scheduler type='CosineAnnealingLR' could not be built: Only epoch-based",
        ),
        (
            "visualizer={'vis_backends': [{'type': 'LocalVisBckend'}]}",
            r"type='LocalVisBckend' is not a vis_backend\. Did you mean 'LocalVisBackend'",
        ),
    ],
)
def test_parts_of_mmengine_that_cannot_be_built(config, tmp_path, option, message):
    with pytest.raises(ConfigError, match=message):
        train(config, tmp_path, 'lr_config=None', option)


def test_a_work_dir_that_cannot_be_written(config, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    with pytest.raises(CheckpointError, match='cannot be used as work dir: File exists'):
        train(config, tmp_path / 'file')

    def refuse(**kwargs):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr('tempfile.TemporaryFile', refuse)
    with pytest.raises(CheckpointError, match='cannot be used as work dir: Permission denied'):
        train(config, tmp_path / 'read_only')


HOLDER = """
import sys, time
from selfsup.engine.resume.checkpoint import hold_work_dir
with hold_work_dir(sys.argv[1]):
    print('held', flush=True)
    time.sleep(60)
"""


def test_a_work_dir_in_which_another_process_trains(config, tmp_path):
    """Two runs would remove and replace each other's checkpoints. A launcher killed by SIGKILL leaves its processes behind."""
    other = subprocess.Popen([sys.executable, '-c', HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == 'held\n'
    for how in ({}, {'auto_resume': True}, {'start_over': True}):
        with pytest.raises(CheckpointError, match=rf'is in use: process {other.pid} on \S+ trains there'):
            train(config, tmp_path, 'total_epochs=1', **how)
    assert [path.name for path in tmp_path.iterdir()] == ['.running']
    other.kill()
    other.wait()
    train(config, tmp_path, 'total_epochs=1')


def test_mmengines_own_form_trains_and_resumes(config, tmp_path):
    text = (
        config.read_text().partition('data = ')[0]
        + """
train_dataloader = dict(batch_size=4, num_workers=0, drop_last=True, sampler=dict(type='DefaultSampler', shuffle=True),
                        dataset=dict(type='ContrastiveDataset', data_source=source, pipeline=pipeline))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.01), clip_grad=dict(max_norm=10))
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4),
                   dict(type='CosineAnnealingLR', T_max=2, by_epoch=True, begin=0, end=2, convert_to_iter_based=True)]
train_cfg = dict(by_epoch=True, max_epochs=2)
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1), logger=dict(type='LoggerHook', interval=2))
"""
    )
    path = tmp_path / 'own.py'
    path.write_text(text)
    straight = train(path, tmp_path / 'straight')
    resumed = train(path, tmp_path / 'resumed', resume_from=str(straight / 'epoch_1.pth'))
    assert differences(straight / 'epoch_2.pth', resumed / 'epoch_2.pth') == []


def test_a_batch_larger_than_the_data(config, tmp_path):
    with pytest.raises(DataError, match=r'24.*100|100.*24'):
        train(config, tmp_path, 'data.imgs_per_gpu=100')


def test_pretrained_backbone(config, finished, tmp_path):
    work_dir = tmp_path / 'work'
    train(
        config,
        work_dir,
        'total_epochs=1',
        f"model.pretrained='{finished / 'epoch_2.pth'}'",
        'optimizer.lr=1e-30',
        'lr_config.min_lr=0.',
    )
    old, new = (
        torch.load(p, weights_only=True)['state_dict'] for p in (finished / 'epoch_2.pth', work_dir / 'epoch_1.pth')
    )
    for key in ('backbone.conv1.weight', 'key_backbone.conv1.weight'):
        assert torch.allclose(new[key], old['backbone.conv1.weight'], atol=1e-6), key
    (log,) = work_dir.glob('*/*.log')  # where a line of level INFO must arrive
    line = r"INFO - Loaded \d+ of \d+ tensors of the backbone from .*epoch_2\.pth \(selfsup, under 'backbone\.', ResNet"
    assert re.search(line, log.read_text())
    torch.save({'state_dict': {'foo': torch.zeros(1)}}, tmp_path / 'wrong.pth')
    with pytest.raises(CheckpointError, match=r"wrong\.pth has no backbone: its 1 tensors begin with 'foo'"):
        train(config, tmp_path / 'other', f"model.pretrained='{tmp_path / 'wrong.pth'}'")


def test_prefetch_trains_like_no_prefetch(config, tmp_path):
    norm = {'mean': [0.5, 0.5, 0.5], 'std': [0.3, 0.3, 0.3]}
    steps = [{'type': 'RandomResizedCrop', 'size': 8}, {'type': 'RandomHorizontalFlip'}]
    plain = [*steps, {'type': 'ToTensor'}, {'type': 'Normalize', **norm}]
    one = train(config, tmp_path / 'one', f'data.train.pipeline={plain}', 'total_epochs=1')
    two = train(
        config,
        tmp_path / 'two',
        f'data.train.pipeline={steps}',
        'prefetch=True',
        f'img_norm_cfg={norm}',
        'total_epochs=1',
    )
    a, b = (torch.load(p / 'epoch_1.pth', weights_only=True)['state_dict'] for p in (one, two))
    # Adam divides by tiny second moments, so 1e-7 in the input is not 1e-7 in the weights
    assert all(torch.allclose(a[k], b[k], atol=2e-3) for k in a if a[k].is_floating_point())


def test_config_errors_come_before_anything_is_written(config, tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'ResNet'"):
        train(config, tmp_path / 'never', "model.backbone.type='ResNte'")
    assert not (tmp_path / 'never').exists()
