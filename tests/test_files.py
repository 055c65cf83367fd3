"""Leftovers of killed writers, and locks between processes. Full disks and kills while writing: weights/test_read.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from selfsup.errors import DataError
from selfsup.files import byte_count, only_process, remove_leftovers, write_atomic

HOLDER = """
import os, sys, time
from selfsup.errors import DataError
from selfsup.files import byte_count, only_process
with only_process(sys.argv[1], 'busy', DataError):
    if os.fork() == 0:  # as a loader worker, which may outlive a killed process
        time.sleep(2)
        os._exit(0)
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


def test_leftovers_are_told_from_other_files(tmp_path):
    for name in ('.epoch_1.pth.123.tmp', '.hidden.tmp', 'epoch_1.pth', 'x.123.tmp'):
        (tmp_path / name).touch()
    assert remove_leftovers(tmp_path) == 1
    assert sorted(os.listdir(tmp_path)) == ['.hidden.tmp', 'epoch_1.pth', 'x.123.tmp']


def test_a_failing_writer_leaves_the_old_file(tmp_path):
    path = write_atomic(tmp_path / 'deep' / 'a.txt', lambda file: file.write(b'old'), DataError)

    def fail(file):
        file.write(b'half')
        raise OSError(28, 'No space left on device')

    with pytest.raises(DataError, match=r'a\.txt could not be written: No space left on device; .* The older file'):
        write_atomic(path, fail, DataError)
    assert path.read_bytes() == b'old' and os.listdir(path.parent) == ['a.txt']


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path):
    lock = tmp_path / '.lock'
    holder = subprocess.Popen([sys.executable, '-c', HOLDER, str(lock)], stdout=subprocess.PIPE, text=True)
    pid = holder.stdout.readline().strip()
    with (
        pytest.raises(DataError, match=rf'^process {pid} on \S+ is at work$'),
        only_process(lock, '{owner} is at work', DataError),
    ):
        pytest.fail('two processes hold one lock')
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with only_process(lock, '{owner} is at work', DataError):
        assert lock.read_text().startswith(f'{os.getpid()} on ')
    with only_process(lock, '{owner} is at work', DataError):  # free again
        pass


def test_where_no_lock_can_be_made_work_goes_on(tmp_path):
    with only_process(tmp_path / 'no' / 'such' / 'folder', 'busy', DataError):
        done = True
    assert done


def test_numbers_of_bytes():
    texts = {'256MB': 256 * 10**6, '4 GiB': 4 * 2**30, '1.5kB': 1500, '12': 12, '1e3': 1000, '2T': 2 * 10**12}
    assert {text: byte_count(text) for text in texts} == texts and byte_count(7) == 7
    for text in ('', 'much', '0', '-1MB', '5XB'):
        with pytest.raises(ValueError, match='byte'):
            byte_count(text)
