"""Detectors train through the same runner: from converted weights to an average precision, resumed exactly, in one and two processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from selfsup.config import compile_config, load
from selfsup.datasets.loaders import build_loader
from selfsup.errors import CheckpointError, ShapeError
from selfsup.evaluation.detection.average_precision import evaluate_detector
from selfsup.evaluation.results.record import read_result
from selfsup.registry import BACKBONES, MODELS
from selfsup.weights.extract import extract_backbone
from selfsup.weights.load import load_backbone, load_model
from tests.distributed.helpers import run_ranks
from tests.resume.runs import differences, train

from .detection_runs import IMAGES, write_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp('det'))


@pytest.fixture(scope='module')
def backbone_file(config):
    """A backbone taken out of an official SparK file, as tools/extract_backbone_weights.py does it."""
    torch.manual_seed(3)
    built = BACKBONES.build(compile_config(load(str(config)))['model']['backbone'])
    official = {f'sparse_encoder.sp_cnn.{name}': value for name, value in built.state_dict().items()}
    torch.save({'module': {**official, 'mask_tokens.0': torch.zeros(1)}}, config.parent / 'official.pth')
    return extract_backbone(config.parent / 'official.pth', config.parent / 'backbone.pth')[0]


def average_precision(config, checkpoint=None, *options):
    compiled = compile_config(load(str(config), options))
    torch.manual_seed(0)
    model = MODELS.build(compiled['model'])
    if checkpoint is not None:
        load_model(model, str(checkpoint), strict=True)
    return evaluate_detector(model, build_loader(compiled['val_dataloader'], seed=0, device=torch.device('cpu')))


def test_fifty_steps_from_converted_weights_find_objects(config, backbone_file, tmp_path):
    shown = compile_config(load(str(config)))
    model = MODELS.build(shown['model'])
    report = load_backbone(model, str(backbone_file))
    assert report.missing == () and report.unused == {}
    work_dir = train(
        config,
        tmp_path,
        f"pretrained='{backbone_file}'",
        'total_iters=50',
        'checkpoint_config.interval=50',
        curves=False,
    )
    before, after = average_precision(config), average_precision(config, work_dir / 'latest.pth')
    assert {'AP', 'AP50', 'AP75', 'mask_AP', 'mask_AP50', 'mask_AP75'} <= after.keys()
    assert before['AP50'] < 3 and after['AP50'] > before['AP50'] + 8  # 15, 20, 26 and 40 were seen with four seeds


@pytest.mark.parametrize('stop', [1, 3])
def test_a_resumed_run_equals_a_straight_one(config, tmp_path, stop):
    options = ('checkpoint_config.interval=1',)
    straight = train(config, tmp_path / 'straight', *options, curves=False)
    part = train(config, tmp_path / 'part', *options, stop_after=stop, curves=False)
    assert not (part / 'iter_4.pth').exists()
    train(config, part, *options, auto_resume=True, curves=False)
    assert differences(straight / 'iter_4.pth', part / 'iter_4.pth') == []


def _straight_and_resumed(config, folder):
    def run(name, **how):
        train(
            config,
            folder / name,
            'data.imgs_per_gpu=2',
            'checkpoint_config.interval=1',
            launcher='pytorch',
            curves=False,
            **how,
        )

    run('straight')
    run('part', stop_after=2)
    run('part', auto_resume=True)


@pytest.mark.dist
def test_two_processes_resume_exactly(config, tmp_path):
    run_ranks(_straight_and_resumed, 2, config, tmp_path, timeout=300)
    assert differences(tmp_path / 'straight' / 'iter_4.pth', tmp_path / 'part' / 'iter_4.pth') == []


def script(*args):
    env = {**os.environ, 'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    command = ['bash', str(ROOT / 'benchmarks/dist_train_det.sh'), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=env, cwd=args[0].parent)


@pytest.mark.dist
def test_the_script_trains_evaluates_and_writes_one_json(config, backbone_file):
    start = time.perf_counter()
    done = script(
        config,
        backbone_file,
        2,
        '--seed',
        3,
        '--cfg-options',
        'data.imgs_per_gpu=2',
        'total_iters=8',
        'optimizer.lr=0.002',
    )
    assert done.returncode == 0, done.stderr
    work_dir = config.parent / 'work_dirs' / 'tiny_det' / backbone_file.name
    result = read_result(work_dir / 'detection.json')
    assert (result['seed'], result['settings']['iterations']) == (3, 8)
    assert result['seconds'] > (time.perf_counter() - start) / 3  # with the training
    assert result['protocol'] == 'detection' and result['settings']['images'] == IMAGES['val']
    assert (result['weights']['path'], result['config']['path']) == (str(backbone_file), str(config))
    assert {'AP', 'AP50', 'AP75', 'mask_AP'} <= result['numbers'].keys()
    assert (work_dir / 'detections.png').read_bytes().startswith(b'\x89PNG')
    # two processes found what one finds in the same batches: how far an image is padded changes its borders a little
    alone = average_precision(config, work_dir / 'latest.pth', 'data.imgs_per_gpu=2')
    assert alone == pytest.approx(result['numbers'], abs=1e-6)
    again = script(config, backbone_file, 1)
    assert again.returncode == 2 and 'detection.json exists; give --start_over' in again.stderr
    assert read_result(work_dir / 'detection.json') == result


def test_the_script_says_what_it_needs(config, tmp_path):
    assert (
        script(config).stderr
        == 'usage: bash benchmarks/dist_train_det.sh CONFIG WEIGHTS NGPUS [arguments of tools/train.py]\n'
    )
    missing = script(config, tmp_path / 'missing.pth', 1)
    assert missing.returncode == 2 and "missing.pth' is not a file" in missing.stderr


def test_weights_of_another_architecture_are_refused(config, tmp_path):
    other = BACKBONES.build({'type': 'ResNet', 'depth': 18, 'base_channels': 4, 'out_indices': (4,)})
    torch.save(other.state_dict(), tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='have another shape'):
        train(config, tmp_path / 'w', f"pretrained='{tmp_path / 'other.pth'}'", curves=False)
    torch.save(
        BACKBONES.build({'type': 'ConvNeXt', 'depths': (1, 1, 1, 1), 'dims': (4, 4, 8, 8)}).state_dict(),
        tmp_path / 'convnext.pth',
    )
    with pytest.raises(CheckpointError, match='0 of its'):
        train(config, tmp_path / 'w2', f"pretrained='{tmp_path / 'convnext.pth'}'", curves=False)


def test_more_classes_than_the_model_has_are_refused(config, tmp_path):
    with pytest.raises(ShapeError, match=r'have 3 classes, but model\.num_classes=2'):
        train(config, tmp_path, 'model.num_classes=2', curves=False)
