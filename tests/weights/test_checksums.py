"""Damage inside of checkpoint files is seen, wherever it is; what changes nothing is no damage."""

from __future__ import annotations

import random
import warnings
import zipfile

import pytest
import torch

from selfsup.engine.resume.state_checks import check_labels, check_mask_state, check_model_state
from selfsup.errors import CheckpointError
from selfsup.weights.checksums import with_digest
from selfsup.weights.extract import extract_backbone
from selfsup.weights.load import load_matching
from selfsup.weights.publish import publish
from selfsup.weights.read import check_finite, read_checkpoint
from selfsup.weights.upgrade import upgrade_file
from selfsup.weights.write import write_checkpoint_atomic

SMALL = {'state_dict': {'w': torch.arange(6.0), 'b': torch.ones(3)}, 'meta': {'a': 1, 'b': [1.5, None, 'x']}}
LAYER = {'layer1.0.conv1.weight': torch.ones(4, 4, 3, 3), 'conv1.weight': torch.ones(4, 3, 3, 3)}


def same(a, b) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return a.dtype == b.dtype and torch.equal(a, b) if isinstance(a, torch.Tensor) else type(a) is type(b) and a == b


def test_a_flip_in_any_byte_is_refused_or_changes_nothing(tmp_path):
    content = write_checkpoint_atomic(SMALL, tmp_path / 'a.pth').read_bytes()
    rng, path, seen = random.Random(1), tmp_path / 'b.pth', {True: 0, False: 0}
    with zipfile.ZipFile(tmp_path / 'a.pth') as archive:
        table = archive.start_dir
    for at in range(len(content)):
        for bit in (4, rng.randrange(8)) if at >= table else (rng.randrange(8),):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
            try:
                assert same(SMALL, read_checkpoint(path)), (at, bit)
                seen[True] += 1
            except CheckpointError as error:
                assert '\n' not in str(error)
                seen[False] += 1
    assert seen[False] > 500 and seen[True] > 100  # headers and data; padding


@pytest.mark.parametrize('size', [1, 64, 4096])
def test_a_hole_in_a_tensor(tmp_path, size):
    path = write_checkpoint_atomic({'state_dict': {'w': torch.randn(10_000)}}, tmp_path / 'a.pth')
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + bytes(size - 1) + content[middle + size :])
    with pytest.raises(
        CheckpointError, match=r"a\.pth .*damaged.*the record 'archive/data/0' is not as it was written"
    ):
        read_checkpoint(path)


def test_a_file_without_check_sums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(SMALL, tmp_path / 'a.pth')
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(SMALL, read_checkpoint(tmp_path / 'a.pth'))


def test_safetensors_hold_a_digest(tmp_path):
    save = pytest.importorskip('safetensors.torch')
    weights, path = {'w': torch.arange(50.0), 'b': torch.ones(3)}, tmp_path / 'a.safetensors'
    content = with_digest(save.save(weights, {'format': 'pt', 'backbone': '{}'}))
    path.write_bytes(content)
    assert same(dict(sorted(weights.items())), dict(sorted(read_checkpoint(path).items())))
    assert same(weights['w'], save.load_file(path)['w'])  # the library itself reads it
    refused = 0
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        try:
            given = read_checkpoint(path)
            assert all(same(weights[name], given[name]) for name in weights), at
        except CheckpointError as error:
            assert '\n' not in str(error)
            refused += 1
    assert refused > len(content) * 0.8
    path.write_bytes(save.save(weights))  # of other code: no digest
    assert same(weights['b'], read_checkpoint(path)['b'])


@pytest.mark.parametrize('number', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_not_finite_weights_are_named_and_counted(number, dtype):
    value = torch.ones(10, dtype=dtype)
    value[2:5] = number
    with pytest.raises(
        CheckpointError, match=r'a\.pth: weights are NaN or infinite: layer\.weight \(3 of 10 numbers\)\. The run'
    ):
        check_finite({'layer.weight': value, 'other': torch.ones(2), 'number': 3}, 'a.pth')
    check_finite({'attn_mask': value, 'observer.min_val': value, 'steps': torch.tensor([2**62])}, 'a.pth')
    # Their sums overflow
    check_finite({'large': torch.full((5,), 3e38), 'half': torch.full((9,), 6e4, dtype=torch.float16)}, 'a.pth')


@pytest.mark.parametrize('frame', ['state_dict', 'model', ''])
def test_tools_name_weights_that_are_not_finite(tmp_path, frame):
    weights = {**LAYER, 'conv1.weight': torch.full((4, 3, 3, 3), float('nan'))}
    source = write_checkpoint_atomic({frame: weights} if frame else weights, tmp_path / 'x.pth')
    for tool in (
        lambda: extract_backbone(source, tmp_path / 'o.pth'),
        lambda: publish(source, tmp_path / 'p'),
        lambda: upgrade_file(source, tmp_path / 'u.pth'),
    ):
        if frame == 'model' and 'upgrade' in str(tool.__code__.co_names):
            continue  # OpenSelfSup had no such frame
        with pytest.raises(CheckpointError, match=r'NaN or infinite: conv1\.weight \(108 of 108 numbers\)'):
            tool()
    assert [p.name for p in tmp_path.rglob('*.pth')] == ['x.pth']


def test_numbers_of_another_kind_are_not_copied(tmp_path):
    layer = torch.nn.BatchNorm1d(3)
    good = layer.state_dict()
    for name, value in (
        ('weight', torch.ones(3, dtype=torch.int8)),
        ('bias', torch.ones(3, dtype=torch.complex64)),
        ('running_mean', torch.ones(3, dtype=torch.bool)),
        ('num_batches_tracked', torch.tensor(1.5)),
    ):
        with pytest.raises(CheckpointError, match=rf'another type \({name}: torch'):
            load_matching(layer, {**good, name: value}, 'a.pth', 'the layer')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        load_matching(
            layer,
            {**good, 'weight': torch.ones(3).half(), 'num_batches_tracked': torch.tensor(4.0)},
            'a.pth',
            'the layer',
        )
    assert layer.num_batches_tracked == 4


def test_state_of_memories_and_hooks():
    bank = {'m.label_bank': torch.tensor([0, 4]), 'm.centroids': torch.zeros(4, 2), 'm.initialized': torch.tensor(True)}
    with pytest.raises(CheckpointError, match=r'm\.label_bank goes from 0 to 4, and must lie in \[0, 3\]'):
        check_model_state(bank, 'a.pth')
    check_model_state({**bank, 'm.label_bank': torch.tensor([-1, -1]), 'm.initialized': torch.tensor(False)}, 'a.pth')
    check_labels(torch.tensor([0, 2, 1]), 3, 3)
    for labels in (torch.tensor([0, 1]), torch.tensor([0, 1, 3]), torch.tensor([0, -1, 1]), torch.ones(3), [0, 1, 2]):
        with pytest.raises(CheckpointError, match='label'):
            check_labels(labels, 3, 3)
    weights, state = (
        {'w': torch.ones(3, 3)},
        {'masks': {'w': torch.zeros(2, dtype=torch.uint8)}, 'steps': 1, 'sparsity': 0.5, 'only': ''},
    )
    check_mask_state(state, weights)
    for change in (
        {'masks': []},
        {'steps': -1},
        {'steps': 'x'},
        {'masks': {'w': torch.zeros(1, dtype=torch.uint8)}},
        {'masks': {'w': torch.zeros(2)}},
        {'masks': {'w': 'x'}},
    ):
        with pytest.raises(CheckpointError, match='mask'):
            check_mask_state({**state, **change}, weights)


# --- publishing

META = {
    'epoch': 7,
    'iter': 70,
    'algorithm': 'MOCO',
    'environment': {'host': 'secret', 'command': 'python tools/train.py'},
    'time': 'now',
    'fingerprint': {'seed': 0},
    'classes': ['cat', 'dog'],
    'config': "a = dict(root='/home/me/data/train', other='data/train', url='https://x.org/a/b')\n# train.py /home/me/c.py 3/4\n",
}


def test_publishing_leaves_out_who_trained_where(tmp_path):
    run = tmp_path / 'r50_v2'
    source = write_checkpoint_atomic(
        {'state_dict': LAYER, 'meta': META, 'optimizer': {}, 'ema': {}, 'args': 'x'}, run / 'epoch_7.pth'
    )
    (run / 'latest.pth').symlink_to('epoch_7.pth')
    path, dropped = publish(source)
    assert path.name.startswith('epoch_7-') and set(dropped) == {'optimizer', 'ema', 'args'}
    meta = read_checkpoint(path)['meta']
    assert meta == {
        'epoch': 7,
        'iter': 70,
        'algorithm': 'MOCO',
        'classes': ['cat', 'dog'],
        'config': META['config'].replace('/home/me/data/train', 'train').replace('/home/me/c.py', 'c.py'),
    }
    assert publish(run / 'latest.pth')[0].name.startswith('r50_v2_epoch_7-')
    (run / 'latest.pth').unlink()
    source.rename(run / 'latest.pth')  # a copy without its link
    assert publish(run / 'latest.pth')[0].name.startswith('r50_v2_epoch_7-')


def test_publishing_files_of_other_code(tmp_path):
    timm = write_checkpoint_atomic(
        {'model': LAYER, 'model_ema': LAYER, 'optimizer': {'state': {}}, 'epoch': 3}, tmp_path / 'c-3.pth'
    )
    path, dropped = publish(timm)
    assert set(read_checkpoint(path)) == {'model', 'model_ema'} and dropped == ['optimizer', 'epoch']
    flat = write_checkpoint_atomic({**LAYER, 'note': 'mine'}, tmp_path / 'flat.pth')
    assert set(read_checkpoint(publish(flat)[0])) == set(LAYER)
    listed = write_checkpoint_atomic({'state_dict': LAYER, 'meta': ['x']}, tmp_path / 'listed.pth')
    assert set(read_checkpoint(publish(listed)[0])) == {'state_dict'}
    extract_backbone(listed, tmp_path / 'out.pth')
    assert read_checkpoint(tmp_path / 'out.pth')['meta'] == {'source': 'listed.pth'}
