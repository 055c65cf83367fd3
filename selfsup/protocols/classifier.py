"""Top-1 and top-5 accuracy of a trained classifier on data.val: python tools/test.py CFG CKPT

The checkpoint must fit the model in every tensor, and the classes of the images must be those that it was trained with.
Several processes: bash tools/dist_test.sh CFG GPUS CKPT.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError
from . import options

TYPE_CHECKING = False  # see options.py
if TYPE_CHECKING:
    from . import base


class Options(options.Options):
    """See the `help` of each field."""

    checkpoint: str = options.option(options.MISSING, 'checkpoint', help='checkpoint of a run with this config')
    work_dir: Path | None = options.option(
        None, '--work_dir', type=Path, help='where the log goes (default: the folder of the checkpoint)'
    )
    topk: Sequence[int] = options.option((1, 5), type=int, nargs='+', help='accuracies to compute')
    ema: bool = options.option(False, help='test the moving average of the weights (EMAHook)')


def run(asked: Options) -> base.Outcome:
    """Measure; writes a log, test_{time}.log, and no result.

    Raises:
        SelfSupError: what the user can mend.
    """
    from . import base

    session = base.Session(asked)
    compiled = session.compiled
    if compiled['val_dataloader'] is None:
        raise ConfigError(f'{asked.config} has no data.val to test on; add it, or give it with --cfg-options.')
    if compiled['model']['type'] == 'Detection':
        raise ConfigError(
            f'{asked.config} is a detector: use benchmarks/test_det.py, which measures average precision.'
        )

    from .. import distributed as dist
    from ..engine.processes.launch import shut_down
    from ..evaluation.features import collect, evaluating, left_out

    session.join()
    model = session.trained(asked.checkpoint, asked.ema)
    loader, unknown = session.test_images(asked.checkpoint)
    with evaluating(model):
        scores = collect(lambda batch: {k: v.float() for k, v in model.predict(batch['img']).items()}, loader)
    loader.close()
    numbers: dict[str, float] = {}
    for name, logits in scores.items():
        topk = tuple(k for k in asked.topk if k <= logits.shape[1]) or tuple(asked.topk)
        numbers.update(loader.dataset.evaluate(logits, name, topk=topk))
    missing = left_out(loader.dataset)
    outcome = base.Outcome()
    if dist.is_main():
        counted = f'{len(loader.dataset) - missing:,} images'
        counted += f'; left out, as they cannot be read: {missing:,}' if missing else ''
        lines = [
            f'{asked.checkpoint} on {counted}',
            *(f'{name}: {value:.2f}' for name, value in numbers.items()),
            *filter(None, [unknown]),
        ]
        folder = asked.work_dir or Path(asked.checkpoint).parent
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / f'test_{time.strftime("%Y%m%d_%H%M%S")}.log'
        log.write_text('\n'.join(lines) + '\n')
        outcome = base.Outcome([*lines, f'log: {log}'])
    shut_down()
    return outcome
