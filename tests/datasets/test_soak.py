"""Three minutes of reading with 5 % broken photos: memory, Ctrl-C and hanging; `benchmarks/speed/soak.py` does the same for longer."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).resolve().parents[2] / 'benchmarks' / 'speed' / 'soak.py'


@pytest.mark.slow
@pytest.mark.parametrize('cache', [(), ('--cache', 'memory')], ids=['files', 'cache'])
def test_memory_stays_and_ctrl_c_ends_it(tmp_path, cache):
    minutes = 3 if not cache else 0.5
    command = [
        sys.executable,
        SOAK,
        '--minutes',
        str(minutes),
        '--pace',
        '0.5',
        '--growth',  # of minutes beside other tests; one image kept per batch is more
        '0.1',
        '--out',
        tmp_path / 'soak.json',
        *cache,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * minutes + 120)
    result = json.loads((tmp_path / 'soak.json').read_text())
    assert done.returncode == 0 and not result['problems'], done.stdout + done.stderr
    assert result['found_broken'] == result['named_in_log'] == 20 and result['exit_status'] == 130
    assert result['batches'] > 40 * minutes and result['left_behind'] == 0
