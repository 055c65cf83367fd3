"""Over 200 hostile checkpoint files through four ways of reading: one clear error each, or exactly what stands in the file."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from selfsup.errors import SelfSupError
from selfsup.registry import MODELS
from selfsup.weights.extract import extract_backbone
from selfsup.weights.load import load_backbone
from selfsup.weights.publish import publish
from selfsup.weights.read import read_checkpoint
from tests.hostile import files as hostile_files
from tests.resume import runs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A tiny run of MoCo with a moving average, its checkpoint, and a runner that is ready to resume."""
    from selfsup.config import compile_config, load
    from selfsup.engine.logs import messages
    from selfsup.engine.runner import Runner

    folder = tmp_path_factory.mktemp('run')
    config = runs.write_config(folder)
    config.write_text(config.read_text() + "custom_hooks = [dict(type='EMAHook', momentum=0.9)]\n")
    runs.train(config, folder / 'work', 'total_epochs=1', curves=False)
    compiled = compile_config(load(str(config)))
    compiled.update(work_dir=str(folder / 'again'), seed=0, visualizer={**compiled['visualizer'], 'vis_backends': []})
    with messages.restored():  # as `engine.train` does
        runner = Runner(compiled)
        runner.prepare()
        yield SimpleNamespace(
            runner=runner, good=folder / 'work' / 'epoch_1.pth', config=config, model=MODELS.build(compiled['model'])
        )
        runner.train_loop.dataloader.close()


@pytest.fixture(scope='module')
def cases(run, tmp_path_factory):
    """Group -> its files, made once."""
    folders = {group: tmp_path_factory.mktemp(group) for group in hostile_files.GROUPS}
    return {group: list(make(run.good, folders[group])) for group, make in hostile_files.GROUPS.items()}


def equal(given, wanted) -> bool:
    """The same tensors under the same names; numbers of another float type count as what they become."""
    return given.keys() == wanted.keys() and all(torch.equal(given[k], wanted[k].to(given[k].dtype)) for k in given)


def resume(run, path: Path, wanted: dict, out: Path) -> bool:
    run.runner.resume(str(path))
    state = run.runner.optim_wrapper.state_dict()['state']
    return (
        equal(run.runner.model.state_dict(), wanted['state_dict'])
        and run.runner.iter == wanted['meta']['iter'] == 6
        and all(
            torch.equal(state[n][k], v) for n, values in wanted['optimizer']['state'].items() for k, v in values.items()
        )
    )


def pretrained(run, path: Path, wanted: dict, out: Path) -> bool:
    """What is in the file is in the backbone; what is not kept its value, and a warning says so."""
    torch.manual_seed(1)
    with torch.no_grad():
        for value in run.model.backbone.parameters():
            value.fill_(7.0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        load_backbone(run.model, str(path))
    own, given = run.model.backbone.state_dict(), backbone(wanted)
    missing = own.keys() - given.keys()
    return equal({k: own[k] for k in given}, given) and bool(missing) == any(
        'kept their initial values' in str(w.message) for w in said
    )


def extract(run, path: Path, wanted: dict, out: Path) -> bool:
    extract_backbone(path, out / 'backbone.pth', force=True)
    return equal(read_checkpoint(out / 'backbone.pth')['state_dict'], backbone(wanted))


def publishing(run, path: Path, wanted: dict, out: Path) -> bool:
    content = read_checkpoint(publish(path, out)[0])
    given = content['state_dict'] if isinstance(content.get('state_dict'), dict) else content
    weights = wanted['state_dict'] if isinstance(wanted.get('state_dict'), dict) else wanted
    return equal(
        {k: v for k, v in given.items() if isinstance(v, torch.Tensor)},
        {k: v for k, v in weights.items() if isinstance(v, torch.Tensor)},
    )


def backbone(content: dict) -> dict:
    return {k[len('backbone.') :]: v for k, v in content['state_dict'].items() if k.startswith('backbone.')}


WAYS = {'resume': resume, 'pretrained': pretrained, 'extract': extract, 'publish': publishing}


def outcome(run, way: str, path: Path, wanted: dict | None, out: Path, refused: bool) -> str:
    """What is wrong; '' where all is well."""
    try:
        right = WAYS[way](run, path, wanted, out)
    except SelfSupError as error:
        text = str(error)
        return '' if '\n' not in text and 20 < len(text) < 3000 else f'message {text!r}'
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    return 'accepted' if refused else '' if right else 'wrong values'


@pytest.fixture
def unheard():
    """No messages and warnings for pytest to keep: some hold file names that are no text, which its worker processes cannot send."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures('unheard')
@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('group', hostile_files.GROUPS)
def test_one_error_or_what_stands_in_the_file(run, cases, tmp_path, group, way):
    good, faults = torch.load(run.good, weights_only=True), []
    for name, path, refused in cases[group]:
        wanted = torch.load(path, weights_only=True) if group == 'made_up' and way not in refused else good
        if problem := outcome(run, way, path, wanted, tmp_path, way in refused):
            faults.append(f'{name}: {problem[:300]}')
    assert not faults, f'{len(faults)} of {len(cases[group])} files:\n' + '\n'.join(faults)
    assert not [path for _, path, _ in cases[group] if (path.parent / 'ran').exists()]  # no payload
    assert not [p.name for p in tmp_path.iterdir() if p.name.endswith('.tmp')]


def test_there_are_more_than_200(cases):
    assert sum(map(len, cases.values())) >= 200


def test_through_the_command_line(run, tmp_path):
    """One line on stderr, status 1, and a work dir as it was."""
    content = bytearray(run.good.read_bytes())
    at = len(content) // 3
    content[at : at + 4096] = bytes(4096)
    work = tmp_path / 'work'
    work.mkdir()
    (work / 'epoch_1.pth').write_bytes(content)
    for command in (
        ['train.py', run.config, '--work_dir', work, '--resume_from', work / 'epoch_1.pth'],
        ['publish_model.py', work / 'epoch_1.pth'],
    ):
        done = subprocess.run(
            [sys.executable, ROOT / 'tools' / command[0], *map(str, command[1:])],
            capture_output=True,
            text=True,
            timeout=120,
        )
        last = done.stderr.strip().splitlines()[-1]
        assert (
            done.returncode == 1 and 'Traceback' not in done.stderr and last.startswith('error: ') and 'damaged' in last
        )
    assert {p.name for p in work.glob('*.pth')} == {'epoch_1.pth'}
