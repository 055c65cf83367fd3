"""The scripts of linear, semi-supervised and fine-tuning protocols, with real processes; srun is stood in for by a script."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from selfsup.config import compile_config, load, work_dir_of
from selfsup.evaluation.results.record import read_result
from selfsup.hooks.validate_hook import ValidateHook
from selfsup.protocols import base, transfer
from selfsup.weights.load import build_with_weights
from selfsup.weights.read import read_checkpoint
from selfsup.weights.write import write_checkpoint_atomic
from tests.evaluation.linear_runs import write_config

from .test_launchers import FAKE_SRUN

ROOT = Path(__file__).resolve().parents[2]


def launch(script, *args, cwd=ROOT, **env):
    command = ['bash', str(ROOT / 'benchmarks' / script), *map(str, args)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', 'GPUS': '1', **env},
    )


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
    start = partial(launch, 'dist_train_linear.sh', config, weights, cwd=config.parents[1])
    done = start(GPUS='2')
    assert done.returncode == 0, done.stderr
    work_dir = config.parents[1] / 'work_dirs' / 'last' / 'w.pth'
    result = read_result(work_dir / 'linear.json')
    assert set(result['numbers']) == {f'head0_top{k}_{when}' for k in (1, 5) for when in ('last', 'best')}
    parameters = result['settings']['parameters']
    assert (
        parameters['head'] == {'trained': 330, 'frozen': 0}
        and parameters['backbone']['trained'] == 0 < parameters['backbone']['frozen']
    )
    assert result['settings']['left_out'] == 0
    assert result['weights']['path'] == str(weights) and result['settings']['world_size'] == 2 and result['seconds'] > 0
    assert f'head0_top1_last: {result["numbers"]["head0_top1_last"]:.2f} (epoch 2)' in done.stdout
    again = start()
    assert again.returncode == 2 and 'linear.json exists; give --start_over' in again.stderr
    assert read_result(work_dir / 'linear.json') == result
    over = start('--start_over', '--cfg-options', 'total_epochs=1')
    assert over.returncode == 0, over.stderr
    changed = read_result(work_dir / 'linear.json')
    assert changed['settings']['epochs']['head0_top1_last'] == 1
    assert result['settings']['cfg_options'] == [] and changed['settings']['cfg_options'] == ['total_epochs=1']
    assert result['config']['sha256'] == changed['config']['sha256']
    assert result['config']['merged_sha256'] != changed['config']['merged_sha256']
    resumed = start('--auto_resume', '--cfg-options', 'total_epochs=1')
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
    done = launch(
        'srun_train_semi.sh',
        'part',
        config,
        'random',
        '--cfg-options',
        'total_epochs=1',
        'model.backbone.frozen_stages=-1',
        GPUS='2',
        cwd=config.parents[1],
        PATH=f'{fake.parent}:{os.environ["PATH"]}',
        SRUN_RECORD=str(tmp_path / 'args'),
    )
    assert done.returncode == 0, done.stderr
    result = read_result(config.parents[1] / 'work_dirs' / 'last' / 'random' / 'semi.json')
    assert result['weights'] is None and result['protocol'] == 'semi' and result['settings']['world_size'] == 2
    assert (tmp_path / 'args').read_text().startswith('-p part --job-name=selfsup-semi --gres=gpu:2 --ntasks=2')


@pytest.mark.dist
def test_two_processes_share_an_extraction(config, weights, tmp_path):
    """The tools start under torchrun too; the features, and so the numbers, are those of one process."""
    args = ('tools/linear_cached.py', config, '--pretrained', weights, '--dtype', 'float32', '--work_dir')
    command = [
        sys.executable,
        'tools/torchrun.py',
        '--standalone',
        '--nproc_per_node=2',
        *args,
        tmp_path / '2',
        '--launcher',
        'pytorch',
    ]
    for words in (command, [sys.executable, *args, tmp_path / '1']):
        subprocess.run(
            list(map(str, words)), cwd=ROOT, check=True, timeout=100, env={**os.environ, 'OMP_NUM_THREADS': '1'}
        )
    one, two = (read_result(tmp_path / name / 'linear_cached.json')['numbers'] for name in '12')
    assert two == pytest.approx(one, abs=1e-3)


@pytest.mark.dist
def test_weights_of_another_architecture_give_no_result(config, tmp_path):
    foreign = write_checkpoint_atomic(
        {'state_dict': {'conv1.weight': torch.zeros(64, 3, 7, 7)}}, tmp_path / 'foreign.pth'
    )
    done = launch('dist_train_finetune.sh', config, foreign, cwd=config.parents[1])
    assert (
        done.returncode == 1
        and 'conv1.weight: (64, 3, 7, 7) in the file' in done.stderr
        and 'Traceback' not in done.stderr
    )
    assert not list((config.parents[1] / 'work_dirs' / 'last' / 'foreign.pth').glob('*.json'))


@pytest.mark.dist
def test_a_config_that_measures_no_accuracy_is_refused_before_training(config):
    done = launch('dist_train_finetune.sh', config, 'random', '--cfg-options', 'custom_hooks=[]', cwd=config.parents[1])
    assert (
        done.returncode == 1
        and 'measures no accuracy, so its run would have no result: add a ValidateHook' in done.stderr
    )
    assert (
        'Traceback' not in done.stderr
        and not (config.parents[1] / 'work_dirs' / 'last' / 'random' / 'finetune.json').exists()
    )
    assert 'Epoch(train)' not in done.stdout


@pytest.mark.parametrize('script', ['dist_train_linear.sh', 'dist_train_semi.sh', 'dist_train_finetune.sh'])
@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('{config}',), 'usage: bash benchmarks/{script} CONFIG PRETRAIN'),
        (('no.py', '{weights}'), "the config 'no.py' is not a file"),
        (('{config}', 'no.pth'), "the weights 'no.pth' is not a file"),
        (('{config}', '{weights}', '--work_dir', 'x'), 'leave out --work_dir'),
        (('{config}', '{weights}', '--pretrained=x'), 'leave out --pretrained'),
    ],
)
def test_wrong_arguments(script, args, message, config, weights):
    done = launch(script, *(arg.format(config=config, weights=weights) for arg in args))
    assert done.returncode == 2 and message.format(script=script) in done.stderr


@pytest.mark.parametrize('script', ['dist_train_semi.sh', 'srun_train_linear.sh', 'dist_test_svm_pretrain.sh'])
@pytest.mark.parametrize('port', ['abc', '0', '70000'])
def test_a_port_that_is_none_is_said_before_anything_else(script, port, config):
    done = launch(script, config, 'random', 'feat4', PORT=port)
    assert done.returncode == 2 and done.stderr.startswith(f"PORT='{port}' is not a number")


@pytest.mark.parametrize('script', ['srun_train_linear.sh', 'srun_train_semi.sh', 'srun_train_finetune.sh'])
def test_the_srun_twins_check_too(script, config):
    done = launch(script, 'part', config)
    assert done.returncode == 2 and f'usage: bash benchmarks/{script} PARTITION CONFIG PRETRAIN' in done.stderr
    done = launch(script, 'part', config, 'no.pth')
    assert done.returncode == 2 and "the weights 'no.pth' is not a file" in done.stderr


@pytest.fixture(scope='module')
def tree(tmp_path_factory, config):
    """A folder to start scripts in, with small configs in many places; the last name is that of a config with a work dir of its own."""
    folder = tmp_path_factory.mktemp('places')
    text = config.read_text()
    places = [
        'configs/a/b.py',
        'my configs/c d.py',
        'my_configs/moco/x.py',
        'configs/old_configs/x.py',
        'old_configs/x.py',
        'mine.py',
        'repo/configs/configs/y.py',
        'configs.d/z.py',
        'here/configs/own.py',
    ]
    for place in places:
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if 'own' not in place else f"{text}\nwork_dir = 'elsewhere/own'\n")
    (folder / 'linked').symlink_to(folder / 'configs')
    (folder / 'configs' / 'a' / 'link.py').symlink_to(folder / 'mine.py')
    return folder


@pytest.mark.parametrize(
    ('path', 'weights', 'expected'),
    [
        ('configs/a/b.py', 'pretrains/moco.pth', 'work_dirs/a/b/moco.pth'),
        ('./configs/a/b.py', 'random', 'work_dirs/a/b/random'),
        ('{tree}/configs/a/b.py', 'w.pth', 'work_dirs/a/b/w.pth'),  # not beside the source
        ('configs//a/../a/b.py', '/abs/w.pth', 'work_dirs/a/b/w.pth'),
        ('configs/../mine.py', 'w.pth', 'work_dirs/mine/w.pth'),
        ('my configs/c d.py', 'my weights.pth', 'work_dirs/c d/my weights.pth'),
        ('old_configs/x.py', 'w.pth', 'work_dirs/x/w.pth'),
        ('my_configs/moco/x.py', 'w.pth', 'work_dirs/x/w.pth'),  # once computed in bash too, differently
        ('configs/old_configs/x.py', 'w.pth', 'work_dirs/old_configs/x/w.pth'),
        ('configs.d/z.py', 'w.pth', 'work_dirs/z/w.pth'),
        ('repo/configs/configs/y.py', 'w.pth', 'work_dirs/y/w.pth'),
        ('linked/a/b.py', 'w.pth', 'work_dirs/b/w.pth'),
        ('configs/a/link.py', 'w.pth', 'work_dirs/a/link/w.pth'),
        ('here/configs/own.py', 'w.pth', 'elsewhere/own/w.pth'),
        ('mine.py', '', 'work_dirs/mine'),
    ],
)
def test_protocols_and_training_agree_on_the_work_dir(tree, monkeypatch, path, weights, expected):
    path = path.format(tree=tree)
    compiled = compile_config(load(str(tree / path)))
    assert str(Path(work_dir_of(compiled, path), Path(weights).name)) == expected
    monkeypatch.chdir(tree)
    if not weights:
        assert str(base.work_dir(compiled, path)) == expected
        return
    monkeypatch.setattr(transfer, 'need_file', lambda what, path: None)
    asked, _, run_config, result = transfer.prepare(transfer.Options(config=path, weights=weights), 'linear')
    assert (asked.work_dir, run_config['work_dir'], str(result)) == (expected, expected, f'{expected}/linear.json')


def test_no_result_lies_beside_the_source_and_a_broken_config_stops_at_once(tree, weights):
    (tree / 'old_configs' / 'broken.py').write_text('model = dict(type=\n')
    done = launch('dist_train_linear.sh', tree / 'old_configs' / 'broken.py', weights, cwd=tree)
    assert (
        done.returncode == 1
        and 'broken.py' in done.stderr
        and 'Traceback' not in done.stderr
        and 'torchrun' not in done.stderr
    )
    done = launch('dist_test_svm_epoch.sh', 'old_configs/x.py', 3, 'feat5', cwd=tree)
    assert done.returncode == 2
    assert (
        'error: there is no work_dirs/x/epoch_3.pth: this is where tools/train.py writes what it trains from'
        in done.stderr
    )
    assert sorted(p.name for p in (tree / 'old_configs').iterdir()) == ['broken.py', 'x.py']


@pytest.mark.dist
@pytest.mark.parametrize(
    ('script', 'option', 'message'),
    [
        (
            'dist_train_linear.sh',
            'model.backbone.frozen_stages=1',
            "The protocol 'linear' trains a head on a frozen backbone, but ",
        ),
        ('dist_train_semi.sh', 'total_epochs=1', "The protocol 'semi' trains the backbone, but all its "),
    ],
)
def test_a_protocol_that_is_another_is_refused_before_training(config, tmp_path, script, option, message):
    done = launch(script, config, 'random', '--cfg-options', option, cwd=tmp_path)
    assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr
    assert not list(tmp_path.glob('work_dirs/**/*.pth')) and 'Epoch(train)' not in done.stdout


def test_the_result_comes_from_the_run(tmp_path, monkeypatch):
    """Accuracies and images that were left out are those that the hook measured, of earlier starts of the run too."""
    config = write_config(tmp_path)
    monkeypatch.chdir(tmp_path)
    hook = ValidateHook.evaluate
    monkeypatch.setattr(ValidateHook, 'evaluate', lambda self, run: {**hook(self, run), 'left_out': 3})
    options = {'config': str(config), 'weights': 'random'}
    (first,) = transfer.run(transfer.Options(**options, cfg_options=['total_epochs=1']), 'linear').results
    assert first['settings']['parameters']['head'] == {'trained': 330, 'frozen': 0}
    assert first['settings']['left_out'] == 3 and first == read_result('work_dirs/last/random/linear.json')
    for log in Path('work_dirs/last/random').glob('*/vis_data/*.json'):
        log.unlink()
    again = transfer.Options(**options, auto_resume=True)
    (second,) = transfer.run(again, 'linear').results
    assert second['settings']['epochs']['head0_top1_last'] == 2
    best = second['settings']['epochs']['head0_top1_best']
    assert second['numbers']['head0_top1_best'] >= first['numbers']['head0_top1_last'] and best in (1, 2)
    checkpoint = read_checkpoint('work_dirs/last/random/latest.pth')
    assert [line['epoch'] for line in checkpoint['meta']['measured']] == [0, 1, 2]


def test_default_numbers_of_processes():
    for name, gpus in (('linear', 8), ('semi', 4), ('finetune', 8)):
        for kind in ('dist', 'srun'):
            assert f'${{GPUS:-{gpus}}}' in (ROOT / 'benchmarks' / f'{kind}_train_{name}.sh').read_text()
