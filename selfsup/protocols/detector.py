"""Average precision of a trained detector on data.val, printed and as JSON: python benchmarks/test_det.py CFG CKPT

The checkpoint must fit the model in every tensor, and the categories must be those that it was trained with. Several processes:
bash benchmarks/dist_train_det.sh measures after training.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError, UsageError
from . import options

TYPE_CHECKING = False  # see options.py
if TYPE_CHECKING:
    from . import base


class Options(options.Options):
    """See the `help` of each field."""

    checkpoint: str = options.option(options.MISSING, 'checkpoint', help='checkpoint of a run with this config')
    config_of_run: str | None = options.option(
        None,
        '--config_of_run',
        metavar='CFG',
        help='file to name in the result, where `config` is a merged copy of it',
    )
    pretrained: str | None = options.option(
        None, help='backbone that the detector started from: the weights that the result is of'
    )
    seconds: float = options.option(
        0.0, type=float, help='that the training took, to be added to the time in the result'
    )
    work_dir: Path | None = options.option(
        None, '--work_dir', type=Path, help='where detection.json goes (default: the folder of the checkpoint)'
    )
    ema: bool = options.option(False, help='test the moving average of the weights (EMAHook)')
    show: int = options.option(0, type=int, metavar='N', help='draw N images with their objects: detections.png')
    force: bool = options.option(False, help='replace detection.json and detections.png if they exist')

    def validate(self) -> None:
        if self.show < 0:
            raise UsageError('--show must be 0 or more')


def run(asked: Options) -> base.Outcome:
    """Measure; writes detection.json.

    Raises:
        SelfSupError: what the user can mend.
    """
    from ..engine.processes.launch import shut_down
    from ..evaluation.results.record import check_free
    from . import base

    folder = asked.work_dir or Path(asked.checkpoint).parent
    check_free(folder / 'detection.json', asked.force)
    if asked.show:
        check_free(folder / 'detections.png', asked.force)
    session = base.Session(asked)
    if session.compiled['val_dataloader'] is None or session.compiled['model']['type'] != 'Detection':
        raise ConfigError(
            f'{asked.config} is no detector with data to test on: it needs model.type=Detection and data.val.'
        )
    session.join()
    outcome = measure(session, asked, folder)
    shut_down()
    return outcome


def measure(session: base.Session, asked: Options, folder: Path) -> base.Outcome:
    """Evaluate with all processes of a session that has joined; rank 0 writes detection.json, and detections.png where it is asked for."""
    import numpy as np

    from .. import distributed as dist
    from ..datasets.robust import unreadable
    from ..engine.resume.state_checks import read_meta
    from ..evaluation.detection.average_precision import detect_and_evaluate
    from ..optim.trained import parameters_by_part
    from ..visualization.detections import detection_grid
    from . import base

    model = session.trained(asked.checkpoint, asked.ema)
    loader, unknown = session.test_images(asked.checkpoint)
    numbers, detections = detect_and_evaluate(model, loader)
    loader.close()
    if not dist.is_main():
        return base.Outcome()
    meta = read_meta(session.described, asked.checkpoint)
    missing = unreadable(loader.dataset)
    counted = np.setdiff1d(np.arange(len(loader.dataset)), missing)
    settings = {
        'images': len(counted),
        'left_out': len(missing),
        'classes': model.num_classes,
        'ema': asked.ema,
        'checkpoint': asked.checkpoint,
        'iterations': meta.get('iter'),
        'world_size': dist.world_size(),
        'parameters': parameters_by_part(model),
    }
    path = folder / 'detection.json'
    result = session.write(
        path,
        'detection',
        numbers,
        settings,
        config=asked.config_of_run or asked.config,
        weights=asked.pretrained or asked.checkpoint,
        seed=meta.get('fingerprint', {}).get('seed', 0),
        seconds=asked.seconds + session.seconds(),
        force=asked.force,
        merged=None,
        backend='reference',  # that of `DetectionDataset`
    )
    lines = [
        f'{asked.checkpoint} on {len(counted):,} images',
        *(f'{k}: {v:.2f}' for k, v in numbers.items()),
        str(path),
    ]
    lines += [] if unknown is None else [unknown]
    if asked.show:
        source, picture = loader.dataset.data_source, folder / 'detections.png'
        drawn = detection_grid(
            source, detections, asked.show, picture, title=asked.checkpoint, readable=counted.tolist()
        )
        lines.append(str(drawn))
    return base.Outcome(lines, [result])
