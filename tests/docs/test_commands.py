"""Every command of README.md and docs/: its scripts, files, flags and options exist; the cheap ones are run."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from selfsup import config
from selfsup.evaluation.layer_features import read_splits
from selfsup.protocols import PROTOCOLS

from .pages import PAGES, ROOT, blocks, commands, files

INTERNAL = ('launch.sh', 'torchrun.py')  # what the launchers use
OTHER_PROGRAMS = ('make', 'pip', 'source', 'export', 'tensorboard')
CHEAP = ('tools/print_config.py', 'tools/count_parameters.py', 'tools/show_views.py')
GETTING_STARTED = ROOT / 'docs' / 'getting_started.md'


class Launcher(NamedTuple):
    """What the usage line of a shell script says: its positional arguments, and the tool, if any, that gets all others."""

    positionals: list[str]
    tool: str | None


def launcher(path: Path) -> Launcher | None:
    """Read a script's usage line; None where it has none."""
    usage = re.search(
        r'usage: bash (?:tools|benchmarks)/\S+ ([A-Z_ ]+)(?:\[arguments of ([\w/]+\.py)\b[^\]]*\])?', path.read_text()
    )
    return usage and Launcher(usage[1].split(), usage[2])


LAUNCHERS = {
    p.relative_to(ROOT).as_posix(): found
    for folder in ('tools', 'benchmarks')
    for p in sorted((ROOT / folder).rglob('*.sh'))
    if (found := launcher(p))
}


def is_script(block_text: str) -> bool:
    """True for a block of shell statements; such a block has a test of its own."""
    return 'for split in' in block_text


COMMANDS = [
    pytest.param(page, command, id=f'{page.name}: {command[:70]}')
    for page in PAGES
    for block in blocks(page, 'bash')
    if not is_script(block.text)
    for command in commands(block.text)
]


def split(command: str) -> tuple[dict[str, str], list[str]]:
    """Environment settings in front of a command, and its words."""
    words, env = shlex.split(command), {}
    while re.match(r'[A-Z_]+=', words[0]):
        name, _, env[name] = words.pop(0).partition('=')
    return env, words


@cache
def flags(tool: str) -> frozenset[str]:
    """Option names that `tool --help` lists; of 'tools/evaluate.py PROTOCOL' those of the protocol."""
    text = subprocess.run(
        [sys.executable, *tool.split(), '--help'], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    return frozenset(re.findall(r'(?<![\w-])(--?[a-zA-Z][\w-]*)', text[text.index('options:') :]))


def options_of(words: list[str]) -> list[str]:
    """Values of --cfg-options."""
    if '--cfg-options' not in words:
        return []
    rest = words[words.index('--cfg-options') + 1 :]
    end = next((i for i, word in enumerate(rest) if word.startswith('--')), len(rest))
    return rest[:end]


def check_python_tool(page: Path, tool: str, words: list[str]) -> None:
    """Flags are listed by --help, the config exists and takes the options."""
    assert (ROOT / tool).is_file(), tool
    if tool == 'tools/evaluate.py' and words[0] in PROTOCOLS:
        tool, words = f'{tool} {words[0]}', words[1:]
    used = {word.partition('=')[0] for word in words if re.match(r'--?[a-zA-Z]', word)}
    assert used <= flags(tool), f'{tool} has no {used - flags(tool)}'
    for word in words:
        if word.startswith('configs/') and word.endswith('.py'):
            assert (ROOT / word).is_file() or word in files(page), f'{word} does not exist'
    if words and words[0].startswith('configs/') and (ROOT / words[0]).is_file():
        config.load(ROOT / words[0], options_of(words))
    elif words and words[0].startswith('my_project/'):
        assert Path(words[0]).name in files(page)


def check_launcher(page: Path, script: str, env: dict[str, str], words: list[str]) -> None:
    """The script reads the environment variables; its positionals are there; the rest fits the tool that it starts."""
    names, tool = LAUNCHERS[script]
    assert len(words) >= len(names), f'{script} needs {names}'
    given = dict(zip(names, words, strict=False))
    assert given.get('NGPUS', '1').isdecimal(), f'{script}: {given["NGPUS"]} is no number of processes'
    source = ''.join((ROOT / path).read_text() for path in (script, 'tools/launch.sh', 'benchmarks/common.sh'))
    for name in env:
        assert name in source or name in ('CUDA_VISIBLE_DEVICES', 'MASTER_ADDR'), f'{script} does not read {name}'
    if tool:
        check_python_tool(page, tool, [given['CONFIG'], *words[len(names) :]])
    else:
        assert len(words) <= len(names) + ('[NGPUS]' in source) and (ROOT / given.get('CONFIG', '')).exists()


@pytest.mark.parametrize(('page', 'command'), COMMANDS)
def test_the_command_exists(page, command):
    env, words = split(command)
    program, rest = words[0], words[1:]
    if program == 'python' and rest[0] == '-m':
        assert rest[1] in ('pytest', 'selfsup.config.reference')
    elif program == 'python' and rest[0].startswith('my_project/'):
        assert Path(rest[0]).name in files(page)
    elif program == 'python':
        check_python_tool(page, rest[0], rest[1:])
    elif program == 'bash':
        check_launcher(page, rest[0], env, rest[1:])
    elif program == 'make':
        targets = re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
        assert [word for word in rest if '=' not in word and word not in targets] == []
    else:
        assert program in OTHER_PROGRAMS, f'no check knows {program}'


def test_the_documented_commands_are_found():
    """An empty list would pass."""
    text = '\n'.join(param.values[1] for param in COMMANDS)
    assert len(LAUNCHERS) >= 3
    for tool in [*LAUNCHERS, *(f'tools/{p.name}' for p in (ROOT / 'tools').glob('*.py') if p.name not in INTERNAL)]:
        assert tool in text, f'{tool} has no example'


def test_every_tool_and_train_flag_is_described():
    text = GETTING_STARTED.read_text()
    for path in (ROOT / 'tools').iterdir():
        assert path.suffix not in ('.py', '.sh') or path.name in INTERNAL or f'tools/{path.name}' in text, path.name
    for flag in flags('tools/train.py') - {'--help', '-h', '--local-rank'}:
        assert f'`{flag}' in text, flag


def cheap_commands() -> list:
    """Commands that need no data: they are run."""
    found = []
    for param in COMMANDS:
        words = split(param.values[1])[1]
        if words[0] == 'python' and words[1] in CHEAP and words[2].startswith('configs/'):
            found.append(param)
    return found


@pytest.mark.parametrize(('page', 'command'), cheap_commands())
def test_cheap_commands_run(page, command, tmp_path, monkeypatch, capsys):
    words = split(command)[1][1:]
    if '--out' in words:
        words[words.index('--out') + 1] = str(tmp_path / 'out.png')
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, 'argv', words)
    runpy.run_path(str(ROOT / words[0]))['main']()
    assert capsys.readouterr().out


def test_lists_of_a_tree_with_class_folders(tmp_path):
    """The shell lines of 'Prepare data' make lists that the data source reads."""
    from PIL import Image

    from selfsup.datasets.data_sources import ImageNet

    (script,) = (block.text for block in blocks(GETTING_STARTED, 'bash') if is_script(block.text))
    for name in ('train/n02/a b.JPEG', 'train/n02/c.JPEG', 'train/n01/d.JPEG', 'val/n01/e.JPEG', 'val/n02/f.JPEG'):
        path = tmp_path / 'data' / 'imagenet' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4)).save(path, 'JPEG')
    subprocess.run(['bash', '-euc', script], cwd=tmp_path, check=True, env={**os.environ, 'LC_ALL': 'C'})
    root = tmp_path / 'data' / 'imagenet'
    labelled = ImageNet(str(root / 'train'), str(root / 'meta' / 'train_labeled.txt'))
    assert [Path(labelled.describe(i)).name for i in range(3)] == [
        'd.JPEG',
        'a b.JPEG',
        'c.JPEG',
    ] and labelled.labels.tolist() == [0, 1, 1]
    assert ImageNet(str(root / 'train'), str(root / 'meta' / 'train.txt')).labels is None
    assert ImageNet(str(root / 'val'), str(root / 'meta' / 'val_labeled.txt')).labels.tolist() == [0, 1]


def test_config_examples_load(tmp_path):
    """The config blocks of getting_started.md, at the paths they name."""
    (tmp_path / 'configs').mkdir()
    for folder in (ROOT / 'configs').iterdir():
        (tmp_path / 'configs' / folder.name).symlink_to(folder)
    examples = files(GETTING_STARTED)
    assert len(examples) == 7
    for name, text in examples.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        if name.endswith('_features.py'):
            data, names, at = read_splits(str(path))
            assert data['extract']['type'] == 'ExtractDataset' and len(names) == len(at) + 1
        else:
            compiled = config.compile_config(config.load(path))
            dataset = compiled['train_dataloader']['dataset']
            if name.endswith('crops.py'):
                assert dataset['type'] == 'MultiViewDataset' and [v['number'] for v in dataset['views']] == [2, 6]
                continue
            if name.endswith('byol_lars.py'):
                wrapper = compiled['optim_wrapper']
                assert wrapper['optimizer']['type'] == 'BarlowLARS' and wrapper['freeze'][0]['epochs'] == 1
                assert wrapper['clip_grad']['per_tensor'] and len(compiled['param_scheduler']) == 2
                continue
            assert dataset['type'] == 'ContrastiveDataset'
            expected = {'augment_on_device': True} if name.endswith('_fast.py') else False
            assert compiled['train_dataloader']['prefetch'] == expected


def test_the_config_for_other_channels_trains_on_them(tmp_path):
    """The block of 'Images that are not RGB', on images as it says."""
    import numpy as np
    import torch

    tifffile = pytest.importorskip('tifffile')
    from selfsup.datasets.loaders import build_loader
    from selfsup.registry import MODELS

    text = GETTING_STARTED.read_text().split('## Images that are not RGB')[1]
    block = re.search(r'```python\n(.*?)```', text, re.DOTALL)[1]
    for number in range(4):
        bands = np.random.RandomState(number).randint(0, 10000, (13, 40, 40), dtype=np.uint16)
        tifffile.imwrite(tmp_path / f'{number}.tif', bands, photometric='minisblack', planarconfig='separate')
    path = tmp_path / 'bands.py'
    path.write_text(block.replace("'data/bands'", repr(str(tmp_path))).replace('imgs_per_gpu=64', 'imgs_per_gpu=2'))
    compiled = config.compile_config(config.load(path))
    loader = build_loader(compiled['train_dataloader'], seed=0, device=torch.device('cpu'))
    batch = loader.peek()
    loader.close()
    model = MODELS.build(compiled['model'])
    model.check_channels(13)
    assert batch['img'].shape == (2, 2, 13, 64, 64) and model(batch).total.item() > 0


def test_quoted_messages_exist():
    """The messages in the table of troubles are those of the code, word for word."""
    source = '\n'.join(path.read_text() for path in (ROOT / 'selfsup').rglob('*.py'))
    table = GETTING_STARTED.read_text().split('| message | reason |')[1]
    messages = re.findall(r'^\| `([^`]+)` \|', table, re.MULTILINE)
    assert len(messages) > 20
    assert [message for message in messages if message not in source] == []
