"""Config files of OpenSelfSup in their own spelling: each loads, compiles to what ours of the same name compiles to, builds, and takes
two optimizer steps, on one CPU process and on two; tools/train.py runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from selfsup import registry
from selfsup.config import compile_config, load
from selfsup.engine.resume.settings import fill_defaults
from selfsup.errors import SelfSupWarning
from tests.config.test_config_files import RECIPES
from tests.distributed.helpers import run_ranks

from .old_tree import NAMES, write_tree
from .small import LABELLED, UNLABELLED, VALIDATION, check, image_folder

ROOT = Path(__file__).resolve().parents[2]
# what needs several ranks to be what it is: batch norms over all of them, or gathered keys and features; one of each kind
SEVERAL_RANKS = [
    name
    for name in NAMES
    if re.search(r'(moco|simclr|byol|npid|odc|deepcluster|rotation_pred)/', name)
    and not re.search('withoutsobel|bs512|ensure_neg', name)
] + [
    'classification/imagenet/r50',
    'benchmarks/linear_classification/imagenet/r50_multihead_sobel',
    'benchmarks/semi_classification/imagenet_10percent/r50_lr0_1_head10',
]
# what a file says -> what the summary calls it
TRANSLATED = {
    'memcached=True': 'memcached=True',
    'pre_conv': 'model.pre_conv',
    'use_fp16 = True': 'use_fp16',
    'norm_decay_mult': 'optimizer.paramwise_options.norm_decay_mult',
    'kernel_size': 'GaussianBlur.kernel_size',
}


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp('old') / 'configs')


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp('images'))


def summaries(caught) -> list[str]:
    return [str(w.message) for w in caught if str(w.message).startswith('Translated from OpenSelfSup')]


# ---- what a file means ----


def test_every_documented_file_is_there(tree):
    assert sorted(f'{name}.py' for name in NAMES) == sorted(RECIPES)
    assert len(NAMES) == 46
    assert {p.relative_to(tree).as_posix() for p in tree.rglob('*.py')} == {*RECIPES, 'base.py'}
    texts = {p.read_text() for p in tree.rglob('*.py')}
    assert len(texts) == 47


@pytest.mark.parametrize('name', NAMES)
def test_it_means_what_ours_of_the_same_name_means(name, tree):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        old = compile_config(load(tree / f'{name}.py'))
    ours = compile_config(load(ROOT / 'configs' / f'{name}.py'))
    wrapper, loader = old['optim_wrapper'], old['train_dataloader']
    assert (
        wrapper['optimizer']['lr'],
        wrapper['optimizer']['weight_decay'],
        old['train_cfg']['max_epochs'],
        loader['batch_size'],
        wrapper['accumulative_counts'],
    ) == RECIPES[f'{name}.py']
    assert meaning(old) == meaning(ours)


def meaning(compiled: dict) -> dict[str, Any]:
    """What decides the result of a run, with defaults filled in.

    Left out: where files and outputs go and how many workers read. Documented differences between old files and ours: normalisation
    in the pipeline or on the device (`prefetch`), a step with p=0, a factor of 1 on the head's learning rate, the number that stands
    for "never again" in ODC's clustering, the folder of one list.
    """
    wrapper = dict(compiled['optim_wrapper'])
    options = wrapper.pop('paramwise_options') or {}
    hooks = [_filled(_on_host(hook), 'HOOKS') for hook in compiled['custom_hooks']]
    for hook in hooks:
        if 'interval' in hook:
            hook['interval'] = min(hook['interval'], compiled['train_cfg']['max_epochs'])
    loader = compiled['train_dataloader']
    return {
        'model': _filled(compiled['model'], 'MODELS'),
        'optim_wrapper': {**wrapper, 'optimizer': _filled(wrapper['optimizer'], 'OPTIMIZERS')},
        'paramwise_options': [(k, v) for k, v in options.items() if v != {'lr_mult': 1}],  # the order counts
        'custom_hooks': hooks,
        'data': _filled(_on_host(loader['dataset'], loader['img_norm_cfg']), 'DATASETS'),
        **{key: loader[key] for key in ('batch_size', 'sampler', 'drop_last')},
        'param_scheduler': [{'gamma': 0.1, **s} if s['policy'] == 'step' else s for s in compiled['param_scheduler']],
        **{key: compiled[key] for key in ('train_cfg', 'default_hooks', 'visualizer', 'env_cfg', 'pretrained')},
    }


def _on_host(cfg: dict, img_norm_cfg: dict | None = None) -> dict:
    """A data set, or a hook with one, that normalises in its pipeline."""
    cfg = dict(cfg)
    img_norm_cfg = cfg.pop('img_norm_cfg', None) or img_norm_cfg
    prefetch = cfg.pop('prefetch', False)
    steps = [{'type': 'ToTensor'}, {'type': 'Normalize', **(img_norm_cfg or {})}]
    for key, value in cfg.items():
        if key in ('dataset', 'extractor'):
            cfg[key] = _on_host({**value, 'prefetch': prefetch} if key == 'dataset' else value, img_norm_cfg)
        elif key.startswith('pipeline'):
            cfg[key] = [step for step in value if step.get('p') != 0] + (steps if prefetch else [])
    return cfg


def _filled(value: Any, kind: str) -> Any:
    """The same with the defaults of every registered type; lists for tuples."""
    return _compared(fill_defaults(value, {(): getattr(registry, kind)}, ()))


def _compared(value: Any) -> Any:
    if isinstance(value, list):
        return [_compared(v) for v in value]
    if isinstance(value, dict):
        return {k: _compared(v) for k, v in value.items() if k not in ('prefetch', 'workers_per_gpu')}
    return value.replace('data/imagenet/jpeg/', 'data/imagenet/') if isinstance(value, str) else value


@pytest.mark.parametrize('name', NAMES)
def test_one_summary_names_what_was_translated(name, tree):
    text = (tree / f'{name}.py').read_text()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        compile_config(load(tree / f'{name}.py'))
    named = [said for written, said in TRANSLATED.items() if written in text]
    found = summaries(caught)
    assert len(found) == bool(named)
    if found:
        parts = found[0].removeprefix('Translated from OpenSelfSup: ').split('; ')
        assert all(any(part.startswith(said) for part in parts) for said in named)
        unexpected = [part for part in parts if not part.startswith(tuple(named)) and 'to exclude them' not in part]
        assert unexpected == []
    others = [str(w.message) for w in caught if issubclass(w.category, SelfSupWarning) and str(w.message) not in found]
    # Accepted, said to do nothing.
    assert len(others) == sum(f'{key}=' in text for key in ('coalesce', 'bucket_size_mb'))


# ---- training ----

EXPECTED = ('Translated from OpenSelfSup', 'SyncBN', 'is ignored', 'collapse', 'warms up')  # in messages


@pytest.mark.parametrize('name', NAMES)
def test_two_steps(name, tree, images, tmp_path, recwarn):
    check(tree / f'{name}.py', images, tmp_path, 'checkpoint_config.save_last=False')
    unexpected = [
        str(w.message)
        for w in recwarn
        if issubclass(w.category, SelfSupWarning) and not any(word in str(w.message) for word in EXPECTED)
    ]
    assert unexpected == []


def _all_in_one_group(files, images, folder):
    for i, path in enumerate(files):
        check(path, images, folder / str(i), 'checkpoint_config.save_last=False', launcher='pytorch')


@pytest.mark.slow
@pytest.mark.dist
def test_two_steps_on_two_processes(tree, images, tmp_path):
    run_ranks(_all_in_one_group, 2, [tree / f'{name}.py' for name in SEVERAL_RANKS], images, tmp_path, timeout=400)


# As a person types them, with the lists and folders of the file replaced by others.
COMMANDS = {
    'selfsup/moco/r50_v2': 'data.train.data_source.root={images} data.train.data_source.list_file={images}/{unlabelled} model.queue_len=8 '
    'data.train.pipeline.0.size=64',
    'selfsup/byol/r50_bs2048_accumulate2_ep200_fp16': 'data.train.data_source.root={images} data.train.pipeline1.0.size=64 '
    'data.train.data_source.list_file={images}/{unlabelled} data.train.pipeline2.0.size=64',
    'benchmarks/semi_classification/imagenet_1percent/r50_lr0_01_head1_sobel': 'data.train.data_source.root={images} '
    'data.train.data_source.list_file={images}/{labelled} data.train.pipeline.0.size=64 '
    'custom_hooks.0.dataset.data_source.root={images} custom_hooks.0.dataset.data_source.list_file={images}/{validation} '
    'custom_hooks.0.workers_per_gpu=0',
}


@pytest.mark.slow
@pytest.mark.parametrize('name', COMMANDS)
def test_the_training_tool_takes_them(name, tree, images, tmp_path):
    options = (
        COMMANDS[name].format(images=images, unlabelled=UNLABELLED, labelled=LABELLED, validation=VALIDATION).split()
    )
    done = subprocess.run(
        [
            sys.executable,
            'tools/train.py',
            str(tree / f'{name}.py'),
            '--work_dir',
            str(tmp_path),
            '--gpus',
            '1',
            '--seed',
            '0',
            '--cfg-options',
            *options,
            'data.imgs_per_gpu=2',
            'data.workers_per_gpu=0',
            'total_epochs=None',
            'total_iters=4',
            'log_config.interval=1',
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'default'},
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count('Translated from OpenSelfSup') == 1
    assert (tmp_path / 'iter_4.pth').is_file()
    assert re.search(r'loss: \d', done.stdout + done.stderr)
    assert ('head0_top1' in done.stdout + done.stderr) == ('semi' in name)
