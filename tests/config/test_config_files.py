"""Shipped configs: each loads, compiles and keeps the contract of its docstring. The page of keys and the printing tool."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from selfsup.config import compile_config, load, reference, to_text
from selfsup.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    p.relative_to(ROOT) for p in (ROOT / 'configs').rglob('*.py') if '_base_' not in p.parts and p.name != 'base.py'
)
CONTRACT = ('Reproduces', 'Command', 'Hardware and time', 'Expected')
# lr, weight decay, epochs, images per GPU, update interval of the documented recipes
RECIPES = {
    'selfsup/moco/r50_v1.py': (0.03, 1e-4, 200, 32, 1),
    'selfsup/moco/r50_v1_fp16.py': (0.03, 1e-4, 200, 32, 1),
    'selfsup/moco/r50_v2.py': (0.03, 1e-4, 200, 32, 1),
    'selfsup/moco/r50_v2_simclr_neck.py': (0.03, 1e-4, 200, 32, 1),
    'selfsup/simclr/r50_bs256_ep200.py': (0.3, 1e-6, 200, 32, 1),
    'selfsup/simclr/r50_bs256_ep200_mocov2_neck.py': (0.3, 1e-6, 200, 32, 1),
    'selfsup/simclr/r50_bs512_ep200.py': (0.6, 1e-6, 200, 64, 1),
    'selfsup/byol/r50_bs256_ep200.py': (0.2, 1.5e-6, 200, 32, 1),
    'selfsup/byol/r50_bs256_accumulate16_ep300.py': (4.8, 1e-6, 300, 32, 16),
    'selfsup/byol/r50_bs2048_accumulate2_ep200_fp16.py': (4.8, 1e-6, 200, 256, 2),
    'selfsup/relative_loc/r50.py': (0.2, 1e-4, 70, 64, 1),
    'selfsup/rotation_pred/r50.py': (0.2, 1e-4, 70, 16, 1),
    'selfsup/rotation_pred/r50_fp16.py': (0.2, 1e-4, 70, 16, 1),
    'selfsup/npid/r50.py': (0.03, 1e-4, 200, 32, 1),
    'selfsup/npid/r50_ensure_neg.py': (0.03, 1e-4, 200, 32, 1),
    'selfsup/deepcluster/r50.py': (0.1, 1e-5, 200, 64, 1),
    'selfsup/deepcluster/r50_withoutsobel.py': (0.3, 1e-5, 200, 64, 1),
    'selfsup/odc/r50_v1.py': (0.06, 1e-5, 440, 64, 1),
    **{
        f'benchmarks/linear_classification/{name}.py': (lr, wd, epochs, 32, 1)
        for sobel in ('', '_sobel')
        for name, lr, wd, epochs in (
            (f'imagenet/r50_last{sobel}', 30, 0, 100),
            (f'imagenet/r50_multihead{sobel}', 0.01, 1e-4, 90),
            (f'places205/r50_multihead{sobel}', 0.01, 1e-4, 28),
        )
    },
    **{
        f'benchmarks/semi_classification/imagenet_{percent}percent/r50_lr{name}_head{head}.py': (lr, wd, 20, 64, 1)
        for percent, wd in ((1, 5e-4), (10, 1e-4))
        for name, lr in (('0_001', 0.001), ('0_01', 0.01), ('0_1', 0.1))
        for head in ('1', '10', '100', *(['1_sobel'] if name == '0_01' else []))
    },
    'classification/imagenet/r50.py': (0.1, 1e-4, 90, 32, 1),
    'classification/cifar10/r50.py': (0.1, 5e-4, 350, 128, 1),
}


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def only_literals(value) -> bool:
    if type(value) is dict:
        return all(only_literals(v) for v in value.values())
    if type(value) in (list, tuple):
        return all(only_literals(v) for v in value)
    return type(value) in (type(None), bool, int, float, str)


@pytest.mark.parametrize('path', FILES, ids=str)
def test_every_config_loads_and_compiles(path, tmp_path):
    loaded = load(path)
    compiled = compile_config(loaded)
    assert only_literals(compiled)
    again = tmp_path / 'again.py'
    again.write_text(to_text(compiled))
    assert compile_config(load(again)) == compiled


@pytest.mark.parametrize('path', FILES, ids=str)
def test_every_docstring_is_a_contract(path):
    module = ast.parse(path.read_text())
    doc = ast.get_docstring(module)
    title, *_ = doc.split('\n')
    assert title.endswith('.')
    fields = dict(re.findall(r'^([A-Z][a-z ]+): (.+?)(?=^[A-Z][a-z ]+: |\Z)', doc, flags=re.M | re.S))
    assert tuple(fields) == CONTRACT
    assert str(path) in fields['Command']
    for script in re.findall(r'(?:tools|benchmarks)/\w+\.(?:py|sh)', fields['Command']):
        assert (ROOT / script).is_file(), script
    if path.parts[1] in ('selfsup', 'classification'):
        assert re.search(r'arXiv:\d{4}\.\d{5}', doc)
    code = path.read_text().splitlines()[module.body[0].end_lineno :]
    assert len([line for line in code if line.strip()]) <= 60


@pytest.mark.parametrize('path', FILES, ids=str)
def test_at_most_two_levels_of_base_files(path):
    def depth(file: Path) -> int:
        found = re.search(r'^_base_ = (.+)$', file.read_text(), flags=re.M)
        bases = ast.literal_eval(found.group(1)) if found else []
        bases = [bases] if isinstance(bases, str) else bases
        return max((1 + depth(file.parent / b) for b in bases), default=0)

    assert depth(path) <= 2


@pytest.mark.parametrize('name', RECIPES)
def test_hyper_parameters_of_the_recipes(name):
    compiled = compile_config(load(f'configs/{name}'))
    wrapper = compiled['optim_wrapper']
    got = (
        wrapper['optimizer']['lr'],
        wrapper['optimizer']['weight_decay'],
        compiled['train_cfg']['max_epochs'],
        compiled['train_dataloader']['batch_size'],
        wrapper['accumulative_counts'],
    )
    assert got == RECIPES[name]
    assert wrapper['type'] == ('AmpOptimWrapper' if 'fp16' in name else 'OptimWrapper')
    assert wrapper['optimizer']['type'] == ('LARS' if 'simclr/' in name or 'byol' in name else 'SGD')
    assert compiled['train_dataloader']['drop_last'] == ('moco' in Path(name).parts)
    assert compiled['default_hooks']['checkpoint']['interval'] == (50 if 'cifar10' in name else 10)
    for hook in compiled['custom_hooks']:
        assert hook.get('update_interval', 1) == wrapper['accumulative_counts']


def test_the_settings_of_each_head_and_each_backbone():
    for name in RECIPES:
        compiled = compile_config(load(f'configs/{name}'))
        options = compiled['optim_wrapper']['paramwise_options'] or {}
        factor = re.search(r'_head(\d+)', name)
        if factor:
            assert options.get(r'\Ahead.', {'lr_mult': 1}) == {'lr_mult': int(factor[1])}
            assert compiled['train_dataloader']['dataset']['data_source']['list_file'].endswith(
                f'{name.split("_")[2].split("/")[0]}.txt'
            )
        sobel = name.endswith('_sobel.py') or name == 'selfsup/deepcluster/r50.py'
        assert compiled['model'].get('with_sobel', False) is sobel
        assert compiled['model']['backbone'].get('in_channels', 3) == (2 if sobel else 3)
        if 'linear' in name:
            assert compiled['model']['backbone']['frozen_stages'] == 4


def test_the_recipes_are_all_there_and_short():
    files = {path.relative_to('configs').as_posix() for path in FILES}
    assert set(RECIPES) <= files
    files, used = {ROOT / 'configs' / name for name in [*RECIPES, 'base.py']}, set()
    while files:  # the recipes and what they inherit from
        used |= files
        inherits = {f: ' '.join(re.findall(r'^_base_ = (.*)', f.read_text(), re.MULTILINE)) for f in files}
        files = {
            (f.parent / base).resolve() for f, text in inherits.items() for base in re.findall(r"'([^']+)'", text)
        } - used
    assert len(used) > len(RECIPES) + 5
    assert sum(len(path.read_text().splitlines()) for path in used) < 900


def test_details_that_differ_within_a_method():
    def compiled(name):
        return compile_config(load(f'configs/selfsup/{name}.py'))

    v1, v2 = compiled('moco/r50_v1'), compiled('moco/r50_v2')
    assert v1['param_scheduler'] == [{'type': 'PolicyLR', 'policy': 'step', 'step': [120, 160], 'by_epoch': True}]
    assert v2['param_scheduler'] == [{'type': 'PolicyLR', 'policy': 'CosineAnnealing', 'min_lr': 0.0, 'by_epoch': True}]
    assert (v1['model']['head']['temperature'], v2['model']['head']['temperature']) == (0.07, 0.2)
    warm = {'warmup': 'linear', 'warmup_ratio': 1e-4, 'warmup_by_epoch': True}
    for name, epochs, momentum in (
        ('simclr/r50_bs256_ep200', 10, None),
        ('byol/r50_bs256_ep200', 2, 0.996),
        ('byol/r50_bs256_accumulate16_ep300', 10, 0.99),
    ):
        found = compiled(name)
        schedule = found['param_scheduler'][0]
        assert {k: schedule[k] for k in warm} == warm and schedule['warmup_iters'] == epochs
        assert found['model'].get('base_momentum') == momentum
        assert list(found['optim_wrapper']['paramwise_options']) == [r'(bn|gn)(\d+)?.(weight|bias)', 'bias']


def test_the_old_name_of_the_base_file_says_the_same(tmp_path):
    text = Path('configs/selfsup/moco/r50_v1.py').read_text()
    folder = ROOT / 'configs'
    for base, name in (('_base_/default_runtime.py', 'new.py'), ('base.py', 'old.py')):
        changed = text.replace('../../_base_/default_runtime.py', f'{folder}/{base}').replace(
            "'../../_base_", f"'{folder}/_base_"
        )
        (tmp_path / name).write_text(changed)
    assert load(tmp_path / 'old.py').cfg == load(tmp_path / 'new.py').cfg


OLD_STYLE = """
import copy
_base_ = 'BASE'
model = dict(
    type='MOCO', pretrained=None, queue_len=65536, feat_dim=128, momentum=0.999,
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='BN')),
    neck=dict(type='LinearNeck', in_channels=2048, out_channels=128, with_avg_pool=True),
    head=dict(type='ContrastiveHead', temperature=0.07))
data_source_cfg = dict(type='ImageNet', memcached=True, mclient_path='/mnt/memcached_client')
data_train_list = 'data/imagenet/meta/train.txt'
data_train_root = 'data/imagenet/train'
dataset_type = 'ContrastiveDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_pipeline = [dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.)), dict(type='RandomHorizontalFlip')]
prefetch = PREFETCH
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])
other_pipeline = copy.deepcopy(train_pipeline)
data = dict(
    imgs_per_gpu=32, workers_per_gpu=4, drop_last=True,
    train=dict(
        type=dataset_type,
        data_source=dict(list_file=data_train_list, root=data_train_root, **data_source_cfg),
        pipeline=other_pipeline,
        prefetch=prefetch))
optimizer = dict(type='SGD', lr=0.03, weight_decay=0.0001, momentum=0.9)
optimizer_config = dict(update_interval=1, use_fp16=True, grad_clip=None)
use_fp16 = True
lr_config = dict(policy='step', step=[120, 160])
checkpoint_config = dict(interval=10)
total_epochs = 200
"""


@pytest.mark.parametrize('prefetch', [True, False])
def test_a_file_in_the_style_of_the_documented_guide(prefetch, tmp_path):
    path = tmp_path / 'old.py'
    path.write_text(OLD_STYLE.replace('BASE', str(ROOT / 'configs/base.py')).replace('PREFETCH', str(prefetch)))
    loaded = load(path)
    compiled = compile_config(loaded)
    assert compiled['train_dataloader']['prefetch'] is prefetch
    steps = [s['type'] for s in compiled['train_dataloader']['dataset']['pipeline']]
    assert steps[2:] == ([] if prefetch else ['ToTensor', 'Normalize'])
    assert (
        loaded.locations['data.train.pipeline.3.type'][1] == 17
        and loaded.locations['data.train.data_source.memcached'][1] == 9
    )
    if not prefetch:
        path.write_text(path.read_text().replace("type='Normalize'", "type='Normalise'"))
        with pytest.raises(
            ConfigError, match=r"^data.train.pipeline.3.type='Normalise' \(.*old.py:17\) .* Did you mean 'Normalize'"
        ):
            load(path)


def test_hooks_with_data_sets_of_their_own_are_checked_inside():
    knn = (
        "custom_hooks=[{'type': 'KNNHook', 'train': {'type': 'ClassificationDatase'}, 'test': {'type': 'ClassificationDataset', "
        "'data_source': {'type': 'Digits', 'split': 'test', 'sise': 8}, 'pipeline': []}}]"
    )
    with pytest.raises(ConfigError) as caught:
        load('configs/selfsup/moco/r50_v2.py', [knn])
    second, first = str(caught.value).split('\n')
    assert first.startswith(
        "custom_hooks.0.test.data_source.sise (--cfg-options) is not an argument of Digits. Did you mean 'size'"
    )
    assert second.startswith("custom_hooks.0.train.type='ClassificationDatase' (--cfg-options) is not a dataset.")


def test_the_page_of_keys_is_the_table():
    assert Path('docs/configs.md').read_text() == reference.markdown(), (
        'docs/configs.md is out of date: python -m selfsup.config.reference > docs/configs.md'
    )


def print_config(*args):
    return subprocess.run([sys.executable, 'tools/print_config.py', *args], capture_output=True, text=True, cwd=ROOT)


def test_print_config_shows_either_form_and_one_clean_message(tmp_path):
    path = 'configs/selfsup/byol/r50_bs2048_accumulate2_ep200_fp16.py'
    done = print_config(path, '--compiled', '--cfg-options', 'optimizer.lr=1.5', 'seed=4')
    assert done.returncode == 0, done.stderr
    assert done.stdout == to_text(compile_config(load(path, ['optimizer.lr=1.5', 'seed=4'])))
    wrong = print_config(path, '--cfg-options', 'optimizr.lr=1.5')
    assert wrong.returncode == 1 and wrong.stdout == ''
    assert 'Traceback' not in wrong.stderr and "Did you mean 'optimizer'" in wrong.stderr


def test_help_and_the_package_load_nothing_heavy():
    assert print_config('--help').returncode == 0
    code = "import sys, selfsup.config; assert not {'torch', 'mmengine', 'torchvision'} & set(sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT).returncode == 0
