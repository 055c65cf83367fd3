"""Names are found whatever was imported before, and what cannot be built says so in one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from selfsup.errors import ConfigError
from selfsup.registry import BACKBONES, MODELS, PIPELINES


def test_mmengines_names_are_found_in_a_fresh_process():
    code = (
        "from selfsup import registry as r; print([t.find(n).__name__ for t, n in ((r.SAMPLERS, 'DefaultSampler'), "
        "(r.HOOKS, 'EMAHook'), (r.PARAM_SCHEDULERS, 'LinearLR'), (r.OPTIMIZERS, 'SGD'))])"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == "['DefaultSampler', 'EMAHook', 'LinearLR', 'SGD']\n"


@pytest.mark.parametrize(
    ('registry', 'cfg', 'message'),
    [
        (PIPELINES, {'type': 3}, r"^A pipeline step's type is a name; got 3\.$"),
        (BACKBONES, 'ResNet', r"^A backbone is written dict\(type='Name', \.\.\.\); got 'ResNet'\.$"),
        (
            BACKBONES,
            {'type': 'ResNet', 'depth': 50, 'dpth': 50},
            r"got an unexpected keyword argument 'dpth'\. Did you mean 'depth'\? Known:",
        ),
        (
            MODELS,
            {
                'type': 'MOCO',
                'backbone': {'type': 'ResNet', 'depth': 18, 'base_channels': 1, 'out_indices': (4,)},
                'neck': {'type': 'LinearNeck', 'in_channels': 8, 'out_channels': 4},
                'head': {'type': 'ContrastiveHead'},
                'queue_len': -1,
            },
            r'^MOCO queue_len=-1: must be a whole number >= 1\.$',
        ),
    ],
)
def test_what_cannot_be_built(registry, cfg, message):
    with pytest.raises(ConfigError, match=message):
        registry.build(cfg)
