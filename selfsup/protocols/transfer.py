"""Train from weights that are to be judged: linear and semi-supervised classification, fine-tuning; accuracies of the last and best epoch.

    python tools/evaluate.py linear CFG W.pth

The name of the protocol is checked: `linear` trains a head on a frozen backbone, `semi` and `finetune` train the backbone too. The
work dir is that of tools/train.py, then the name of the weights; NAME.json in it has the accuracies of each head. Best epochs are chosen
on the validation set, as published numbers are; the last epoch is the number without such a choice.
"""

from __future__ import annotations

import time
from pathlib import Path

from ..errors import UsageError
from . import options, training

TYPE_CHECKING = False  # see options.py
if TYPE_CHECKING:
    from typing import Any

    from ..config import LoadedConfig
    from . import base


class Options(training.Options):
    """Those of tools/train.py; work dir and `pretrained` follow from config and weights."""

    weights: str = options.option(
        options.MISSING, 'weights', help="file of weights that --pretrained takes, or 'random'"
    )
    check: bool = options.option(False, help='only say whether the run may start')


def prepare(asked: Options, protocol: str) -> tuple[Options, LoadedConfig, dict[str, Any], Path]:
    """The options of the run with its work dir, what `training.read` gives, and where the result goes.

    Raises:
        UsageError: a file is missing, an option does not belong here, or there is a result that the options do not let go.
        ConfigError: see `training.read`.
        DataError: nothing can be written into the work dir.
    """
    from ..evaluation.results.record import check_free
    from . import base

    need_file('config', asked.config)
    if asked.weights != 'random':
        need_file('weights', asked.weights)
    if asked.pretrained is not None:
        raise UsageError('the weights are the argument after the config; leave out --pretrained')
    loaded, compiled = training.read(asked.but(work_dir=None))
    folder = base.work_dir(compiled, asked.config, asked.weights)
    if asked.work_dir is not None:
        raise UsageError(f'the work dir follows from config and weights: {folder}; leave out --work_dir')
    path = folder / f'{protocol}.json'
    again = asked.start_over or asked.auto_resume or asked.resume_from is not None
    if path.exists() and not again:
        raise UsageError(f'{path} exists; give --start_over to train anew and replace it')
    check_free(path, force=True)
    compiled['work_dir'] = str(folder)
    if asked.weights != 'random':
        compiled['pretrained'] = asked.weights
    return asked.but(work_dir=str(folder)), loaded, compiled, path


def need_file(what: str, path: str) -> None:
    """Refuse a path without a file.

    Raises:
        UsageError: naming it.
    """
    if not Path(path).is_file():
        raise UsageError(f"the {what} '{path}' is not a file")


def run(asked: Options, protocol: str) -> base.Outcome:
    """Train and write the result.

    Args:
        protocol: 'linear', 'semi' or 'finetune'.

    Raises:
        SelfSupError: what the user can mend.
    """
    from . import base

    start = time.perf_counter()
    from ..engine import unwrap
    from ..evaluation.results.accuracies import MEASURED, by_name, last_and_best, left_out
    from ..evaluation.results.record import write_result
    from ..optim.trained import parameters_by_part

    asked, loaded, compiled, path = prepare(asked.but(must_validate=True, protocol=protocol), protocol)
    if asked.check:
        return base.Outcome()
    runner = training.train(asked, loaded, compiled)
    if runner.rank != 0:
        return base.Outcome()
    measured = runner.message_hub.get_info(MEASURED, [])
    numbers, epochs = last_and_best(by_name(measured))
    result = write_result(
        path,
        protocol=protocol,
        numbers=numbers,
        config=asked.config,
        weights=asked.weights,
        seed=runner.seed,
        device=runner.device,
        seconds=None if runner.config.resume_from else time.perf_counter() - start,
        force=True,
        merged=runner.config.compiled,
        backend=runner.config.pipeline_backend,
        settings={
            'epochs': epochs,
            'world_size': runner.world_size,
            'cfg_options': list(asked.cfg_options),
            'parameters': parameters_by_part(unwrap(runner.model)),
            'left_out': left_out(measured),
        },
    )
    lines = [f'{name}: {value:.2f} (epoch {epochs[name]})' for name, value in numbers.items()]
    return base.Outcome([*lines, f'result: {path}'], [result])
