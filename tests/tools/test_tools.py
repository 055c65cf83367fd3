"""Every tool on small real inputs, called in this process; only --help is timed in processes of its own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from selfsup.errors import CheckpointError
from selfsup.weights.extract import backbone_weights
from selfsup.weights.publish import publish
from selfsup.weights.read import read_checkpoint
from selfsup.weights.write import write_checkpoint_atomic

from .conftest import BACKBONE, CONFIG

TOOLS = Path(__file__).parents[2] / 'tools'
NAMES = sorted(p.stem for p in TOOLS.glob('*.py') if p.stem != 'torchrun')  # that one shows torchrun's own help


@pytest.mark.parametrize('name', NAMES)
def test_help_answers_within_a_second(name):
    taken = []
    # Measured 0.03 s; a busy machine may slow one start, not four.
    while not taken or (min(taken) >= 1 and len(taken) < 4):
        start = time.perf_counter()
        result = subprocess.run(
            [sys.executable, TOOLS / f'{name}.py', '--help'], capture_output=True, text=True, check=True
        )
        taken.append(time.perf_counter() - start)
    assert min(taken) < 1 and 'usage' in result.stdout
    assert len((TOOLS / f'{name}.py').read_text().splitlines()) <= 80


def test_errors_are_one_line_and_status_1(tmp_path):
    result = subprocess.run(
        [sys.executable, TOOLS / 'extract_backbone_weights.py', tmp_path / 'no.pth', tmp_path / 'o.pth'],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1 and result.stdout == ''
    assert result.stderr == f'error: Checkpoint {tmp_path / "no.pth"} does not exist.\n'


# --- backbone weights and publishing


def test_extract_backbone(call, trained, tmp_path):
    out = tmp_path / 'pretrains' / 'b.pth'
    assert '72 tensors' in call('extract_backbone_weights', trained, out)
    content, original = read_checkpoint(out), read_checkpoint(trained)['state_dict']
    assert content['author'] == 'selfsup' and content['meta'] == {
        'epoch': 3,
        'config': 'model = 1',
        'source': 'epoch_3.pth',
    }
    assert {f'backbone.{k}' for k in content['state_dict']} == {k for k in original if k.startswith('backbone.')}
    assert all(torch.equal(v, original[f'backbone.{k}']) for k, v in content['state_dict'].items())
    with pytest.raises(CheckpointError, match='exists; give --force'):
        call('extract_backbone_weights', trained, out)
    call('extract_backbone_weights', trained, out, '--force')


def test_extracted_backbone_loads_as_pretrained(call, config_file, trained, tmp_path):
    from selfsup import config
    from selfsup.registry import MODELS
    from selfsup.weights.load import load_backbone

    call('extract_backbone_weights', trained, tmp_path / 'b.pth')
    model = MODELS.build(config.compile_config(config.load(config_file))['model'])
    load_backbone(model, str(tmp_path / 'b.pth'))
    assert torch.equal(model.backbone.conv1.weight, read_checkpoint(trained)['state_dict']['backbone.conv1.weight'])


@pytest.mark.parametrize(
    'keys',
    [
        ('backbone.a', 'neck.b'),
        ('encoder_q.0.a', 'encoder_q.1.b', 'encoder_k.0.a'),
        ('online_net.0.a', 'target_net.0.a'),
        ('module.backbone.a', 'module.head.b'),
        ('encoder_q.0.a', 'backbone.a'),
    ],
)
def test_prefixes_of_old_checkpoints(keys):
    weights = {key: torch.full((1,), float(i)) for i, key in enumerate(keys)}
    expected = next(
        v
        for k, v in weights.items()
        if k.removeprefix('module.').startswith(('backbone.', 'encoder_q.0.', 'online_net.0.'))
    )
    if 'backbone.a' in weights:
        expected = weights['backbone.a']
    for checkpoint in (weights, {'state_dict': weights}):
        assert backbone_weights(checkpoint, 'x.pth') == {'a': expected}


def test_no_backbone_names_what_is_there():
    message = r"x\.pth has no backbone: its 3 tensors begin with 'layer1\.', 'fc'; expected one of backbone\."
    with pytest.raises(CheckpointError, match=message):
        backbone_weights(
            {'state_dict': {'layer1.a': torch.ones(1), 'layer1.b': torch.ones(1), 'fc': torch.ones(1)}}, 'x.pth'
        )


def test_publish(call, trained):
    out = call('publish_model', trained)
    path = Path(out.splitlines()[0])
    assert path.parent == trained.parent and 'left out: optimizer, param_schedulers' in out
    assert path.name == f'epoch_3-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth'  # of the finished file
    assert set(read_checkpoint(path)) == {'state_dict', 'meta'} and 'optimizer' in read_checkpoint(trained)
    assert {p.name for p in trained.parent.iterdir()} == {trained.name, path.name}
    assert publish(trained)[0] == path and publish(path)[0] == path  # the same content has the same name


def test_publish_elsewhere_and_nothing_to_publish(call, trained, tmp_path):
    assert (
        Path(call('publish_model', trained, '--out-dir', tmp_path / 'zoo').splitlines()[0]).parent == tmp_path / 'zoo'
    )
    write_checkpoint_atomic({'optimizer': {}}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'holds no weights.*its entries are optimizer'):
        publish(tmp_path / 'x.pth')


# --- counting


def test_count_parameters(call, config_file):
    out = call('count_parameters', config_file, '--cfg-options', 'model.backbone.frozen_stages=1').splitlines()
    rows = {line.split()[0]: [float(x) for x in line.split()[1:]] for line in out[1:]}
    stem, stage1 = 3 * 8 * 9 + 16, 2 * (8 * 8 * 9) + 32
    assert rows['backbone'][1] == pytest.approx((stem + stage1) / 1e6, abs=5e-4)
    assert rows['total'][2] - rows['backbone'][2] == pytest.approx(650 / 1e6, abs=1.1e-3)


def test_count_flops_of_resnet50(call, tmp_path):
    config = CONFIG.replace(BACKBONE, "dict(type='ResNet', depth=50, out_indices=(4,))").replace('64, num', '2048, num')
    (tmp_path / 'r50.py').write_text(config)
    out = call('count_parameters', tmp_path / 'r50.py', '--table')
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert 'backbone.layer4' in rows and float(rows['backbone.layer4'][0]) == pytest.approx(14.965, abs=1e-3)
    # 4.089 G multiply-adds are the published number for ResNet-50 with its classifier (2 M of them)
    last = [line.split() for line in out.splitlines() if line.startswith('backbone ')][-1]
    assert float(last[3]) == pytest.approx(2 * 4.087, abs=0.01) and float(last[1]) == pytest.approx(23.508, abs=1e-3)


def test_count_what_is_not_zero(call, config_file, trained, tmp_path):
    dense = call('count_parameters', config_file, '--nonzero', trained, '--size', '128').splitlines()
    assert dense[0].endswith('together    not zero')
    checkpoint = read_checkpoint(trained)
    weights = checkpoint['state_dict']
    weights['backbone.conv1.weight'][:4] = 0  # 4 of 8 filters
    write_checkpoint_atomic(checkpoint, tmp_path / 'sparse.pth')
    sparse = call('count_parameters', config_file, '--nonzero', tmp_path / 'sparse.pth', '--size', '128').splitlines()
    lost = weights['backbone.conv1.weight'].numel() / 2e6
    for name, before, after in zip(('backbone', 'total'), dense[1:], sparse[1:], strict=False):
        assert before.split()[0] == after.split()[0] == name
        assert float(before.split()[4]) - float(after.split()[4]) == pytest.approx(lost, abs=1e-3)
    before, after = (float(lines[3].split('without zeros ')[1].split()[0]) for lines in (dense, sparse))
    assert 0 < after < before
    with pytest.raises(CheckpointError, match='holds no moving average'):
        call('count_parameters', config_file, '--nonzero', trained, '--ema')
