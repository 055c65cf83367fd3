"""OpenSelfSup: its scripts and configs have the same names here, so a command is checked and passed on."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import load
from ..errors import UsageError
from .flags import Flag, parse, written
from .shell import Call, whole
from .translation import ROOT, Row, Translation, recipe_path

TRAIN = (
    Flag('work_dir', 'str', '', '--work_dir of tools/train.py'),
    Flag('resume_from', 'str', '', '--resume_from of tools/train.py'),
    Flag('pretrained', 'str', '', '--pretrained of tools/train.py'),
    Flag('seed', 'int', 0, '--seed of tools/train.py', low=0),
    Flag('deterministic', 'switch', False, '--deterministic of tools/train.py'),
    Flag('port', 'int', 29500, '--port of tools/train.py', low=1, high=65535),
    Flag('gpus', 'int', 1, 'one process has one GPU: tools/dist_train.sh starts several.', only=(1,)),
    Flag('launcher', 'str', 'none', 'set by the shell scripts.', only=('none', 'pytorch', 'slurm')),
    Flag('local_rank', 'int', 0, 'set by the launcher.'),
)
TEST = (*(f for f in TRAIN if f.name in ('work_dir', 'port', 'launcher', 'local_rank')),)
EXTRACT = (
    *TEST,
    Flag('checkpoint', 'str', '', '--checkpoint of tools/extract.py'),
    Flag('pretrained', 'str', '', '--pretrained of tools/extract.py; random: weights as they are drawn'),
    Flag('dataset-config', 'str', 'benchmarks/extract_info/voc07.py', '--dataset-config of tools/extract.py'),
    Flag('layer-ind', 'str', '0,1,2,3,4', '--layer-ind of tools/extract.py'),
)
NOT_PASSED = ('launcher', 'local_rank', 'gpus')


@dataclass(frozen=True)
class Script:
    """One script.

    Attributes:
        path: from the root of the repository, there and here.
        words: names of its positional words; 'config' is a shipped config, 'gpus' a number; one in brackets may be left out.
        flags: those that may follow.
    """

    path: str
    words: tuple[str, ...]
    flags: tuple[Flag, ...] = ()


SCRIPTS = (
    Script('tools/train.py', ('config',), TRAIN),
    Script('tools/test.py', ('config', 'checkpoint'), TEST),
    Script('tools/extract.py', ('config',), EXTRACT),
    Script('tools/single_train.sh', ('config',), TRAIN),
    Script('tools/dist_train.sh', ('config', 'gpus'), TRAIN),
    Script('tools/srun_train.sh', ('partition', 'config', 'gpus'), TRAIN),
    Script('tools/dist_test.sh', ('config', 'gpus', 'checkpoint'), TEST),
    Script('tools/srun_test.sh', ('partition', 'config', 'gpus', 'checkpoint'), TEST),
    Script('tools/dist_extract.sh', ('config', 'gpus', 'work_dir'), EXTRACT),
    Script('tools/srun_extract.sh', ('partition', 'config', 'gpus', 'work_dir'), EXTRACT),
    Script('tools/count_parameters.py', ('config',)),
    Script('tools/publish_model.py', ('file',)),
    Script('tools/extract_backbone_weights.py', ('checkpoint', 'output')),
    Script('tools/upgrade_models.py', ('checkpoint',), (Flag('save-path', 'str', '', '--save-path'),)),
    Script('benchmarks/dist_test_svm_epoch.sh', ('config', 'epoch', 'features', '[gpus]')),
    Script('benchmarks/dist_test_svm_pretrain.sh', ('config', 'pretrain', 'features', '[gpus]')),
    Script('benchmarks/dist_train_linear.sh', ('config', 'pretrain'), TRAIN),
    Script('benchmarks/dist_train_semi.sh', ('config', 'pretrain'), TRAIN),
    Script('benchmarks/srun_test_svm_epoch.sh', ('partition', 'config', 'epoch', 'features', '[gpus]')),
    Script('benchmarks/srun_test_svm_pretrain.sh', ('partition', 'config', 'pretrain', 'features', '[gpus]')),
    Script('benchmarks/srun_train_linear.sh', ('partition', 'config', 'pretrain'), TRAIN),
    Script('benchmarks/srun_train_semi.sh', ('partition', 'config', 'pretrain'), TRAIN),
)


def translate(script: Script, call: Call, out: str | os.PathLike | None = None) -> Translation:
    """Check a command and pass it on.

    Raises:
        UsageError: a word that is missing, a config that is not shipped, or a flag that is not known.
    """
    words, names = list(call.words), list(script.words)
    first = next((i for i, word in enumerate(words) if word.startswith('-')), len(words))
    own, rest = words[:first], words[first:]
    needed = [n for n in names if not n.startswith('[')]
    if not len(needed) <= len(own) <= len(names):
        raise UsageError(
            f'{call.program} takes {" ".join(n.upper() for n in names)}, then flags; {len(own)} words are given.'
        )
    values: dict[str, str] = dict(zip((n.strip('[]') for n in names), own, strict=False))
    if 'gpus' in values:
        whole('The number of GPUs', values['gpus'])
    given = parse(script.flags, rest)
    recipe, text = '', ''
    if 'config' in values:
        recipe = Path(values['config']).as_posix().removeprefix('./')
        load(recipe_path(recipe))
        base = recipe if out is None else Path(os.path.relpath(ROOT / recipe, Path(out).resolve().parent)).as_posix()
        text = f'_base_ = {base!r}\n'
        values['config'] = recipe if out is None else str(out)
    rows = [Row(f'<{n}> {w}', 'taken', values[n], True) for n, w in zip(values, own, strict=True)]
    named = {flag.name: flag for flag in script.flags}
    passed = [word for name, value in given.items() for word in _passed(named[name], value, rows)]
    by = 'bash' if script.path.endswith('.sh') else 'python'
    line = shlex.join([by, script.path, *values.values(), *passed])
    if call.launched:
        if script.path not in ('tools/train.py', 'tools/test.py'):
            raise UsageError(f'{call.program} is not started by a launcher: leave it out.')
        shell = script.path.replace('tools/', 'tools/dist_').replace('.py', '.sh')
        first_word, *others = values.values()
        line = shlex.join(['bash', shell, first_word, str(call.processes), *others, *passed])
    return Translation(recipe, text, ' '.join([*call.environment, line]), rows)


def _passed(flag: Flag, value: Any, rows: list[Row]) -> list[str]:
    """The words of a flag in the new command, and its row."""
    shown = written(flag, value)
    if flag.only is not None and value not in flag.only:
        raise UsageError(f'{shown} has no counterpart here: {flag.says}')
    needed = flag.name not in NOT_PASSED
    rows.append(Row(shown, 'taken' if needed else 'not needed', flag.says, True))
    if not needed:
        return []
    return [flag.spelled()] if flag.kind == 'switch' else [flag.spelled(), str(value)]
