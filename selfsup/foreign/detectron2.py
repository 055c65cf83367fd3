"""SparK's detection with detectron2: convert-timm-to-d2.py and train_net.py, which have namesakes in benchmarks/detection."""

from __future__ import annotations

import shlex

from ..errors import UsageError, did_you_mean
from .flags import Flag, parse, written
from .shell import Call
from .translation import ROOT, Row, Translation

FOLDER = 'benchmarks/detection'
FLAGS = (
    Flag('config-file', 'str', '', 'the config of the same name in benchmarks/detection/configs'),
    Flag('resume', 'switch', False, '--resume'),
    Flag('eval-only', 'switch', False, '--eval-only'),
    Flag('num-gpus', 'int', 1, '--num-gpus', low=1),
    Flag('num-machines', 'int', 1, '--num-machines', low=1),
    Flag('machine-rank', 'int', 0, '--machine-rank', low=0),
    Flag('dist-url', 'str', '', '--dist-url'),
)


def convert(call: Call) -> Translation:
    """Weights for detectron2.

    Raises:
        UsageError: other than two words.
    """
    if len(call.words) != 2 or any(word.startswith('-') for word in call.words):
        raise UsageError(f'{call.program}: give the file of weights and the file to write, nothing else.')
    command = f'python {FOLDER}/convert_pretrain_to_detectron2.py {shlex.join(call.words)}'
    rows = [
        Row(word, 'taken', says, True)
        for word, says in zip(call.words, ('weights to read', 'the file to write'), strict=True)
    ]
    return Translation('', '', command, rows)


def train(call: Call) -> Translation:
    """A training with detectron2.

    Raises:
        UsageError: an unknown flag, a config that is not here, or a setting without a value.
    """
    words = list(call.words)
    first = next(
        (i for i, w in enumerate(words) if w.isupper() or ('.' in w and w.split('.')[0].isupper())), len(words)
    )
    own, settings = words[:first], words[first:]
    given = parse(FLAGS, own)
    if len(settings) % 2:
        raise UsageError(f'{settings[-1]} needs a value: settings of detectron2 are pairs, KEY VALUE.')
    if 'config-file' not in given:
        raise UsageError(
            '--config-file is missing: name a config, such as ./configs/coco_R_50_FPN_CONV_1x_moco_adam.yaml.'
        )
    name = given['config-file'].rsplit('/', 1)[-1]
    known = sorted(path.name for path in (ROOT / FOLDER / 'configs').glob('*.yaml'))
    if name not in known:
        raise UsageError(f'--config-file {name} is not in {FOLDER}/configs.{did_you_mean(name, known)}')
    config = f'{FOLDER}/configs/{name}'
    line, rows = ['python', f'{FOLDER}/train_net.py'], []
    for flag in FLAGS:
        if flag.name in given:
            value = config if flag.name == 'config-file' else given[flag.name]
            line += [flag.spelled()] if flag.kind == 'switch' else [flag.spelled(), str(value)]
            rows.append(Row(written(flag, given[flag.name]), 'taken', written(flag, value), True))
    rows += [
        Row(f'{key} {value}', 'taken', 'the same setting', True)
        for key, value in zip(settings[::2], settings[1::2], strict=True)
    ]
    return Translation(
        '', '', shlex.join([*line, *settings]), rows, ['detectron2 is not part of this project: install it first.']
    )


SCRIPTS = (('convert-timm-to-d2.py', convert), ('train_net.py', train))
