"""The scripts of linear, semi-supervised and fine-tuning protocols, with real processes; srun is stood in for by a script."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from selfsup.checkpoint_io import write_checkpoint_atomic
from selfsup.config import compile_config, load
from selfsup.engine.weights import build_with_weights
from selfsup.evaluation.results import read_result
from tests.evaluation.linear_runs import write_config

from .test_launchers import FAKE_SRUN

ROOT = Path(__file__).resolve().parents[2]


def launch(script, *args, **env):
    return subprocess.run(['bash', str(ROOT / 'benchmarks' / script), *map(str, args)], capture_output=True, text=True, timeout=300,
                          env={**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', 'GPUS': '1', **env})


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tree') / 'configs'
    folder.mkdir()
    return write_config(folder)


@pytest.fixture(scope='module')
def weights(config):
    model = build_with_weights(compile_config(load(str(config)))['model'], 'random', seed=5)
    return write_checkpoint_atomic({'state_dict': model.backbone.state_dict()}, config.parent / 'w.pth')


@pytest.mark.dist
def test_linear_with_two_processes_and_what_becomes_of_its_result(config, weights):
    done = launch('dist_train_linear.sh', config, weights, GPUS='2')
    assert done.returncode == 0, done.stderr
    work_dir = config.parents[1] / 'work_dirs' / 'last' / 'w.pth'
    result = read_result(work_dir / 'linear.json')
    assert set(result['numbers']) == {f'head0_top{k}_{when}' for k in (1, 5) for when in ('last', 'best')}
    assert result['weights']['path'] == str(weights) and result['settings']['world_size'] == 2 and result['seconds'] > 0
    assert f"head0_top1_last: {result['numbers']['head0_top1_last']:.2f} (epoch 2)" in done.stdout
    again = launch('dist_train_linear.sh', config, weights)
    assert again.returncode == 2 and 'linear.json exists; give --start_over' in again.stderr
    assert read_result(work_dir / 'linear.json') == result
    over = launch('dist_train_linear.sh', config, weights, '--start_over', '--cfg-options', 'total_epochs=1')
    assert over.returncode == 0, over.stderr
    changed = read_result(work_dir / 'linear.json')
    assert changed['settings']['epochs']['head0_top1_last'] == 1
    assert result['settings']['cfg_options'] == [] and changed['settings']['cfg_options'] == ['total_epochs=1']
    assert result['config']['sha256'] == changed['config']['sha256']
    assert result['config']['merged_sha256'] != changed['config']['merged_sha256']
    resumed = launch('dist_train_linear.sh', config, weights, '--auto_resume', '--cfg-options', 'total_epochs=1')
    assert resumed.returncode == 0, resumed.stderr
    found = read_result(work_dir / 'linear.json')
    assert changed['seconds'] > 0 and found['seconds'] is None, 'the time of the whole run is not known'
    assert {**found, 'seconds': 0, 'date': ''} == {**changed, 'seconds': 0, 'date': ''}


@pytest.mark.dist
def test_semi_through_srun_from_random_weights(config, tmp_path):
    fake = tmp_path / 'bin' / 'srun'
    fake.parent.mkdir()
    fake.write_text(FAKE_SRUN)
    fake.chmod(0o755)
    done = launch('srun_train_semi.sh', 'part', config, 'random', '--cfg-options', 'total_epochs=1', GPUS='2',
                  PATH=f"{fake.parent}:{os.environ['PATH']}", SRUN_RECORD=str(tmp_path / 'args'))
    assert done.returncode == 0, done.stderr
    result = read_result(config.parents[1] / 'work_dirs' / 'last' / 'random' / 'semi.json')
    assert result['weights'] is None and result['protocol'] == 'semi' and result['settings']['world_size'] == 2
    assert (tmp_path / 'args').read_text().startswith('-p part --job-name=selfsup-semi --gres=gpu:2 --ntasks=2')


@pytest.mark.dist
def test_two_processes_share_an_extraction(config, weights, tmp_path):
    """The tools start under torchrun too; the features, and so the numbers, are those of one process."""
    args = ('tools/linear_cached.py', config, '--pretrained', weights, '--dtype', 'float32', '--work_dir')
    command = [sys.executable, 'tools/torchrun.py', '--standalone', '--nproc_per_node=2', *args, tmp_path / '2', '--launcher', 'pytorch']
    for words in (command, [sys.executable, *args, tmp_path / '1']):
        subprocess.run(list(map(str, words)), cwd=ROOT, check=True, timeout=100, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    one, two = (read_result(tmp_path / name / 'linear_cached.json')['numbers'] for name in '12')
    assert two == pytest.approx(one, abs=1e-3)


@pytest.mark.dist
def test_weights_of_another_architecture_give_no_result(config, tmp_path):
    foreign = write_checkpoint_atomic({'state_dict': {'conv1.weight': torch.zeros(64, 3, 7, 7)}}, tmp_path / 'foreign.pth')
    done = launch('dist_train_finetune.sh', config, foreign)
    assert done.returncode == 1 and 'conv1.weight: (64, 3, 7, 7) in the file' in done.stderr and 'Traceback' not in done.stderr
    assert not list((config.parents[1] / 'work_dirs' / 'last' / 'foreign.pth').glob('*.json'))


@pytest.mark.dist
def test_a_config_that_measures_no_accuracy_is_refused_before_training(config):
    done = launch('dist_train_finetune.sh', config, 'random', '--cfg-options', 'custom_hooks=[]')
    assert done.returncode == 1 and 'measures no accuracy, so its run would have no result: add a ValidateHook' in done.stderr
    assert 'Traceback' not in done.stderr and not (config.parents[1] / 'work_dirs' / 'last' / 'random' / 'finetune.json').exists()
    assert 'Epoch(train)' not in done.stdout


@pytest.mark.parametrize('script', ['dist_train_linear.sh', 'dist_train_semi.sh', 'dist_train_finetune.sh'])
@pytest.mark.parametrize(('args', 'message'), [
    (('{config}',), 'usage: bash benchmarks/{script} CONFIG PRETRAIN'),
    (('no.py', '{weights}'), "the config 'no.py' is not a file"),
    (('{config}', 'no.pth'), "the weights 'no.pth' is not a file"),
    (('{config}', '{weights}', '--work_dir', 'x'), 'leave out --work_dir'),
    (('{config}', '{weights}', '--pretrained=x'), 'leave out --pretrained'),
])
def test_wrong_arguments(script, args, message, config, weights):
    done = launch(script, *(arg.format(config=config, weights=weights) for arg in args))
    assert done.returncode == 2 and message.format(script=script) in done.stderr


@pytest.mark.parametrize('script', ['srun_train_linear.sh', 'srun_train_semi.sh', 'srun_train_finetune.sh'])
def test_the_srun_twins_check_too(script, config):
    done = launch(script, 'part', config)
    assert done.returncode == 2 and f'usage: bash benchmarks/{script} PARTITION CONFIG PRETRAIN' in done.stderr
    done = launch(script, 'part', config, 'no.pth')
    assert done.returncode == 2 and "the weights 'no.pth' is not a file" in done.stderr


@pytest.mark.parametrize(('path', 'weights', 'expected'), [
    ('configs/benchmarks/linear/r50.py', 'pretrains/moco.pth', 'work_dirs/benchmarks/linear/r50/moco.pth'),
    ('/a/configs/configs/x.py', 'random', '/a/work_dirs/work_dirs/x/random'),
])
def test_work_dirs_follow_the_documented_rule(path, weights, expected):
    command = f'source {ROOT}/benchmarks/common.sh; work_dir_of {path} {weights}'
    assert subprocess.run(['bash', '-c', command], capture_output=True, text=True, check=True).stdout.strip() == expected


def test_default_numbers_of_processes():
    for name, gpus in (('linear', 8), ('semi', 4), ('finetune', 8)):
        for kind in ('dist', 'srun'):
            assert f'${{GPUS:-{gpus}}}' in (ROOT / 'benchmarks' / f'{kind}_train_{name}.sh').read_text()
