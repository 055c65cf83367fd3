"""Which program of which code base a command starts."""

from __future__ import annotations

import os

from ..errors import UsageError, did_you_mean
from . import convnext_v2, detectron2, openselfsup, slak, spark
from .shell import Call, split
from .translation import Program, Translation, translate_program

PROGRAMS = (*spark.PROGRAMS, *convnext_v2.PROGRAMS, *slak.PROGRAMS)
SPARK_ONLY = ('exp_name', 'exp_dir', 'bs', 'ep', 'wp_ep', 'base_lr')  # main.py is SLaK's too
FINETUNING_ONLY = ('img_size', 'lr_scale', 'rep_aug', 'mixup', 'drop_path', 'ema')


def translate(command: str, out: str | os.PathLike | None = None) -> Translation:
    """A documented command of SparK, ConvNeXt V2, SLaK or OpenSelfSup as it is written here.

    Args:
        command: as it would be typed; line continuations and quotes are understood.
        out: the file that the config will be written to. None: `_base_` is told from the root of the repository.

    Raises:
        UsageError: a program or flag that is not known, with the nearest names; a value that has no counterpart here.
        ConfigError: what comes out is no config.
    """
    call = split(command)
    name = call.program.rsplit('/', 1)[-1]
    for file, convert in detectron2.SCRIPTS:
        if name == file and 'benchmarks' not in call.program:
            return convert(call)
    for script in openselfsup.SCRIPTS:
        if name == script.path.rsplit('/', 1)[-1]:
            return openselfsup.translate(script, call, out)
    known = {script for program in PROGRAMS for script in program.scripts}
    if name not in known:
        known |= {s.path.rsplit('/', 1)[-1] for s in openselfsup.SCRIPTS} | {s for s, _ in detectron2.SCRIPTS}
        raise UsageError(f'{call.program} is no program of a code base that is known here.{did_you_mean(name, known)}')
    return translate_program(*_chosen(name, call), out)


def _chosen(name: str, call: Call) -> tuple[Program, Call]:
    """The program, and its call; main.py and main.sh are names of several."""
    if name not in ('main.sh', 'main.py'):
        return next(program for program in PROGRAMS if name in program.scripts), call
    flags = {word.lstrip('-').partition('=')[0] for word in call.words if word.startswith('--')}
    if name == 'main.py' and not set(SPARK_ONLY) & flags and 'pretrain/' not in call.program:
        return slak.PROGRAMS[0], call
    finetunes = 'downstream' in call.program or bool(flags & set(FINETUNING_ONLY))
    if name == 'main.sh':
        if not call.words or call.words[0].startswith('-'):
            raise UsageError(
                'main.sh wants the name of the experiment before its flags, such as: bash main.sh NAME --bs=4096'
            )
        call.words[:1] = [f'--exp_name={call.words[0]}']
    return spark.FINETUNE if finetunes else spark.PRETRAIN, call
