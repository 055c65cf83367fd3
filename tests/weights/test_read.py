"""Checkpoint files: nothing is executed, nothing is lost, every failure is one clear line."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from selfsup.errors import CheckpointError
from selfsup.files import remove_leftovers
from selfsup.weights.read import read_checkpoint
from selfsup.weights.write import write_checkpoint_atomic

GOOD = {
    'state_dict': {'w': torch.arange(20_000.0).view(100, 200)},
    'meta': {'epoch': 3, 'name': 'x', 'list': [1, 2.5, None]},
}


class Payload:
    """Unpickling this creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def _fails(path) -> str:
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(path)
    assert '\n' not in str(error.value) and Path(path).name in str(error.value)
    return str(error.value)


def test_round_trip_creates_the_folder_and_leaves_nothing_else(tmp_path):
    path = write_checkpoint_atomic(GOOD, tmp_path / 'a' / 'b' / 'epoch_1.pth')
    back = read_checkpoint(path)
    assert torch.equal(back['state_dict']['w'], GOOD['state_dict']['w']) and back['meta'] == GOOD['meta']
    assert os.listdir(path.parent) == ['epoch_1.pth']
    plain = tmp_path / 'plain'
    plain.write_bytes(b'')
    assert path.stat().st_mode == plain.stat().st_mode  # readable by whom the umask says


def test_missing_names_what_is_there(tmp_path):
    assert 'does not exist.' in _fails(tmp_path / 'no' / 'x.pth')
    write_checkpoint_atomic(GOOD, tmp_path / 'epoch_7.pth')
    assert 'There are: epoch_7.pth.' in _fails(tmp_path / 'epoch_8.pth')
    assert "is a folder; name one file, for example 'epoch_7.pth' in it" in _fails(tmp_path)


def test_empty(tmp_path):
    (tmp_path / 'e.pth').touch()
    assert 'is empty (0 bytes)' in _fails(tmp_path / 'e.pth')


@pytest.mark.parametrize('new_format', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('share', [0.00002, 0.0005, 0.01, 0.3, 0.5, 0.9, 0.9999])
def test_truncated(tmp_path, new_format, share):
    whole = tmp_path / 'whole.pth'
    torch.save(GOOD, whole, _use_new_zipfile_serialization=new_format)
    content = whole.read_bytes()
    cut = tmp_path / 'cut.pth'
    cut.write_bytes(content[: max(1, int(len(content) * share))])
    assert 'cut off, damaged or was not written by torch.save' in _fails(cut)


@pytest.mark.parametrize(
    'content', [b'hello world', b'<html>404 Not Found</html>', b'\x00' * 4096, b'PK\x03\x04' + b'x' * 100]
)
def test_not_a_checkpoint(tmp_path, content):
    (tmp_path / 'x.pth').write_bytes(content)
    assert 'was not written by torch.save' in _fails(tmp_path / 'x.pth')


def test_flipped_bytes_in_the_middle_never_crash(tmp_path):
    """Damage to the data of a tensor may go unseen by torch; damage to the structure must be our error."""
    path = write_checkpoint_atomic({'a': torch.zeros(3), 'b': [1, 'x']}, tmp_path / 'x.pth')
    content = path.read_bytes()
    for at in range(0, len(content), 37):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            assert isinstance(read_checkpoint(path), dict)
        except CheckpointError as error:
            assert '\n' not in str(error)


@pytest.mark.parametrize('new_format', [True, False], ids=['zip', 'legacy'])
def test_code_is_refused_and_not_run(tmp_path, new_format):
    target = tmp_path / 'created_by_payload'
    torch.save(
        {'state_dict': {}, 'meta': Payload(target)}, tmp_path / 'evil.pth', _use_new_zipfile_serialization=new_format
    )
    message = _fails(tmp_path / 'evil.pth')
    assert 'loading it could run code, so it is refused' in message and 'mkdir' in message
    assert not target.exists()
    torch.load(tmp_path / 'evil.pth', weights_only=False)  # the file is dangerous indeed
    assert target.exists()


@pytest.mark.parametrize('protocol', [2, 4])
def test_bare_pickle_is_refused_and_not_run(tmp_path, protocol):
    target = tmp_path / 'created_by_payload'
    (tmp_path / 'evil.pkl').write_bytes(pickle.dumps(Payload(target), protocol=protocol))
    _fails(tmp_path / 'evil.pkl')
    assert not target.exists()


def test_foreign_classes_are_named(tmp_path):
    """Logs of other frameworks inside a checkpoint (mmengine's HistoryBuffer is such a class)."""
    torch.save({'state_dict': {}, 'history': torch.nn.Linear(1, 1)}, tmp_path / 'x.pth')
    assert "('torch.nn.modules.linear.Linear')" in _fails(tmp_path / 'x.pth')


def test_not_a_dict(tmp_path):
    torch.save([torch.ones(1)], tmp_path / 'x.pth')
    assert 'holds a list, not a dict' in _fails(tmp_path / 'x.pth')


def _child(code: str, *args: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-c', code, *map(str, args)], capture_output=True, text=True, timeout=60)


FULL_DISK = """
import resource, sys, torch
from selfsup.weights.write import write_checkpoint_atomic
from selfsup.errors import CheckpointError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))  # no file may grow beyond this
try:
    write_checkpoint_atomic({'state_dict': {'w': torch.ones(100_000)}}, sys.argv[1])
except CheckpointError as error:
    print(error)
"""


@pytest.mark.parametrize('limit', [100, 50_000, 400_500])
def test_full_disk_keeps_the_old_file(tmp_path, limit):
    path = write_checkpoint_atomic(GOOD, tmp_path / 'latest.pth')
    before = path.read_bytes()
    result = _child(FULL_DISK, path, limit)
    assert f'{path} could not be written: ' in result.stdout, result.stderr
    assert 'bytes are free there. The older file of this name is unchanged.' in result.stdout
    assert path.read_bytes() == before and os.listdir(tmp_path) == ['latest.pth']


def test_full_disk_when_flushing(tmp_path, monkeypatch):
    """Some file systems report a full disk only when asked to flush."""

    def full(_handle):
        raise OSError(28, 'No space left on device')

    path = write_checkpoint_atomic(GOOD, tmp_path / 'x.pth')
    before = path.read_bytes()
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(CheckpointError, match='No space left on device'):
        write_checkpoint_atomic({'new': 1}, path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ['x.pth']


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(CheckpointError, match='could not be written'):
        write_checkpoint_atomic(GOOD, tmp_path / 'file' / 'x.pth')


def test_our_own_mistakes_keep_their_type(tmp_path):
    with pytest.raises((AttributeError, pickle.PicklingError)):
        write_checkpoint_atomic({'f': lambda: 0}, tmp_path / 'x.pth')
    assert os.listdir(tmp_path) == []


WRITER = """
import sys, torch
from selfsup.weights.write import write_checkpoint_atomic
n = 0
while True:
    n += 1
    write_checkpoint_atomic({'n': n, 'w': torch.full((500_000,), float(n))}, sys.argv[1])
    print(n, flush=True)
"""


def test_sigkill_at_any_moment_leaves_a_complete_file(tmp_path):
    path = tmp_path / 'latest.pth'
    writer = subprocess.Popen([sys.executable, '-c', WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    first = int(writer.stdout.readline())
    for _ in range(10):  # reading while it writes sees whole files only
        content = read_checkpoint(path)
        assert bool((content['w'] == content['n']).all())
        time.sleep(0.007)
    writer.send_signal(signal.SIGKILL)
    rest = writer.stdout.read().split()
    writer.wait()
    content = read_checkpoint(path)
    assert content['n'] >= int(rest[-1] if rest else first) and bool((content['w'] == content['n']).all())
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ['latest.pth']
