"""KNNHook, ValidateHook, BYOLHook, CollapseHook in real runs."""

import json
import warnings
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from selfsup.errors import CheckpointError, ConfigError, DataError, SelfSupWarning
from selfsup.hooks.evaluation_hook import MEASURED, EvaluationHook
from selfsup.hooks.validate_hook import ValidateHook
from tests.resume.runs import differences, train, write_config

STEPS = [dict(type='ToTensor'), dict(type='Normalize', mean=[0.5] * 3, std=[0.3] * 3)]
DIGITS = {
    split: dict(type='ClassificationDataset', data_source=dict(type='Digits', split=split, size=8), pipeline=STEPS)
    for split in ('train', 'test')
}


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp('config'))


def scalars(work_dir):
    lines = [json.loads(x) for f in work_dir.glob('*/vis_data/2*.json') for x in f.read_text().splitlines()]
    return lines


def test_knn_is_logged_before_during_and_after_training_and_changes_nothing(config, tmp_path):
    hook = dict(type='KNNHook', k=[5, 20], interval=2, **DIGITS)
    with_hook = train(config, tmp_path / 'with', f'custom_hooks={[hook]}')
    plain = train(config, tmp_path / 'plain')
    found = [x for x in scalars(with_hook) if 'knn_20' in x]
    assert [x['epoch'] for x in found] == [0, 2, 3]
    assert all(10 < x['knn_5'] <= 100 for x in found)  # ten classes: more than chance
    assert differences(with_hook / 'epoch_3.pth', plain / 'epoch_3.pth') == []


CLASSIFY = '''"""Supervised digits."""
model = dict(type='Classification',
             backbone=dict(type='ResNet', depth=18, stage_blocks=(1, 1, 1, 1), base_channels=8, stem='cifar', out_indices=(4,)),
             head=dict(type='ClsHead', with_avg_pool=True, in_channels=64, num_classes=10))
steps = [dict(type='ToTensor'), dict(type='Normalize', mean=[0.3] * 3, std=[0.3] * 3)]
source = dict(type='Digits', size=8)
data = dict(imgs_per_gpu=128, workers_per_gpu=0,
            train=dict(type='ClassificationDataset', data_source=dict(split='train', **source), pipeline=steps),
            val=dict(type='ClassificationDataset', data_source=dict(split='test', **source), pipeline=steps))
custom_hooks = [dict(type='ValidateHook', dataset=data['val'], initial=True, interval=1, imgs_per_gpu=100, workers_per_gpu=0,
                     eval_param=dict(topk=(1, 5)))]
optimizer = dict(type='AdamW', lr=0.01)
lr_config = dict(policy='step', step=[10])
checkpoint_config = dict(interval=2)
log_config = dict(interval=5)
total_epochs = 2
'''


def test_validation_sees_a_classifier_learn(tmp_path):
    path = tmp_path / 'classify.py'
    path.write_text(CLASSIFY)
    found = [x for x in scalars(train(path, tmp_path / 'work')) if 'head0_top1' in x]
    assert [x['epoch'] for x in found] == [0, 1, 2]
    assert found[0]['head0_top1'] < 30 < 60 < found[-1]['head0_top1'] <= found[-1]['head0_top5']


def folders(root, classes):
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(2):
            Image.new('RGB', (16, 16), (40 * i, 90, 120)).save(root / name / f'{i}.png')
    return dict(type='ClassificationDataset', data_source=dict(type='ImageFolder', root=str(root)), pipeline=STEPS)


@pytest.mark.parametrize(
    ('classes', 'message'),
    [('bc', 'only for training a; only for testing none'), ('abcd', 'only for training none; only for testing d')],
)
def test_other_classes_are_refused_before_training(classes, message, tmp_path):
    """Folders are numbered in each root by itself: 'b' would be 1 in training and 0 in testing, and the accuracy wrong without a word."""
    path = tmp_path / 'classify.py'
    path.write_text(CLASSIFY)
    data = folders(tmp_path / 'train', 'abc')
    test = folders(tmp_path / 'test', classes)
    for hook in (
        dict(type='ValidateHook', dataset=test, initial=False),
        dict(type='KNNHook', train=data, test=test, k=1, initial=False),
    ):
        options = ('data.imgs_per_gpu=6', f'data.train={data}', f'custom_hooks={[hook]}')
        with pytest.raises(DataError, match=f'Training and test images have different classes: {message}'):
            train(path, tmp_path / hook['type'], *options)
        assert not list((tmp_path / hook['type']).glob('*.pth'))


def test_validation_with_prefetch_starts(tmp_path):
    """What compares the classes builds the data set as the loader does: its pipeline ends without a tensor."""
    path = tmp_path / 'classify.py'
    path.write_text(CLASSIFY)
    data = folders(tmp_path / 'data', 'abc')
    hook = dict(
        type='ValidateHook',
        dataset={**data, 'pipeline': []},
        prefetch=True,
        img_norm_cfg=dict(mean=[0.5] * 3, std=[0.3] * 3),
    )
    train(
        path, tmp_path / 'work', 'data.imgs_per_gpu=6', f'data.train={data}', 'total_epochs=1', f'custom_hooks={[hook]}'
    )
    assert [x['epoch'] for x in scalars(tmp_path / 'work') if 'head0_top1' in x] == [0, 1]


def test_classes_of_folders_in_a_row_are_compared_too(tmp_path):
    path = tmp_path / 'classify.py'
    path.write_text(CLASSIFY)
    data, more = (folders(tmp_path / name, name) for name in ('abc', 'abcd'))
    options = (
        'data.imgs_per_gpu=6',
        f'data.train={dict(type="ConcatDataset", datasets=[data, data])}',
        'total_epochs=1',
    )
    with pytest.raises(DataError, match='different classes: only for training none; only for testing d'):
        train(
            path,
            tmp_path / 'more',
            *options,
            f'custom_hooks={[dict(type="ValidateHook", dataset=more, initial=False)]}',
        )
    train(
        path,
        tmp_path / 'same',
        *options,
        f'custom_hooks={[dict(type="ValidateHook", dataset=data, initial=False)]}',
        curves=False,
    )


def test_byol_hook_sets_the_end_and_warns_of_another_interval(tmp_path):
    config = write_config(tmp_path, 'BYOL')
    hooks = "custom_hooks=[{'type': 'BYOLHook', 'end_momentum': 0.5, 'update_interval': 3}]"
    with pytest.warns(SelfSupWarning, match=r'BYOLHook.update_interval=3 is ignored.*every 1 iterations'):
        work_dir = train(config, tmp_path / 'work', hooks, 'total_epochs=1')
    plain = train(config, tmp_path / 'plain', 'total_epochs=1')
    found = differences(work_dir / 'epoch_1.pth', plain / 'epoch_1.pth')
    assert any('target' in name for name in found)


def test_byol_hook_needs_a_target(config, tmp_path):
    with pytest.raises(ConfigError, match=r'BYOLHook needs a model with a target network .*this is MOCO'):
        train(config, tmp_path, "custom_hooks=[{'type': 'BYOLHook'}]")


def test_collapse_warns_once(config, tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        train(config, tmp_path, "default_hooks={'collapse': {'interval': 1, 'min_rank': 100.0}}", 'total_epochs=1')
    found = [w for w in caught if 'collapse' in str(w.message)]
    assert len(found) == 1
    assert 'effective rank' in str(found[0].message)
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    assert saved['meta']['iter'] == 6


@pytest.mark.parametrize(
    'hook', [{'type': 'KNNHook', 'interval': 0, **DIGITS}, {'type': 'CollapseHook', 'interval': 0}]
)
def test_bad_intervals(config, tmp_path, hook):
    with pytest.raises(ConfigError, match='interval'):
        train(config, tmp_path, f'custom_hooks={[hook]}')


def test_an_unknown_evaluation_argument_is_found_before_training():
    with pytest.raises(ConfigError, match=r"takes no 'top_k'\. Did you mean 'topk'"):
        ValidateHook(dict(type='ClassificationDataset'), eval_param=dict(top_k=(1, 5)))
    with pytest.raises(ConfigError, match='use ClassificationDataset'):
        ValidateHook(dict(type='NPIDDataset'))


def resumed_with(measured):
    """What a run knows of its evaluations after it went on from a checkpoint with these in its meta."""
    hub = {}
    run = SimpleNamespace(
        config=SimpleNamespace(resume_from='old.pth'), message_hub=SimpleNamespace(update_info=hub.__setitem__)
    )
    EvaluationHook().after_load_checkpoint(run, {'meta': {MEASURED: measured}})
    return hub[MEASURED]


def test_evaluations_of_a_checkpoint_come_back():
    measured = [{'head0_top1': 50.0, 'epoch': 0, 'iter': 0}, {'head0_top1': 60.0, 'left_out': 2, 'epoch': 1, 'iter': 9}]
    assert resumed_with(measured) == measured and resumed_with([]) == []


@pytest.mark.parametrize('measured', [3, 'x', {}, {'epoch': 1}, [3], [{}], [{'epoch': 'x'}], [{'epoch': True}], None])
def test_evaluations_that_are_none_are_refused_in_one_line(measured):
    with pytest.raises(CheckpointError, match=r'old\.pth: measured in its meta is .*, not a list of evaluations'):
        resumed_with(measured)
