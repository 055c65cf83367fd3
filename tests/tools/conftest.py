"""Call a tool in this process, as its command line would."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def call(monkeypatch, capsys):
    """call('count_parameters', args...) -> what tools/count_parameters.py printed; other folders by path: 'benchmarks/x'."""

    def run(name: str, *args: object) -> str:
        path = ROOT / f'{name}.py' if name.startswith('benchmarks/') else ROOT / 'tools' / f'{name}.py'
        monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
        runpy.run_path(str(path))['main']()
        return capsys.readouterr().out

    return run
