"""Train a detector from a backbone that is to be judged, then measure it on data.val: detection.json, and a picture, detections.png.

    python tools/evaluate.py detection CFG W.pth

The work dir is that of tools/train.py, then the name of the weights.
"""

from __future__ import annotations

import time

from . import base, detector, training, transfer
from .transfer import Options

__all__ = ['Options', 'run']

SHOWN = 12  # images in the picture


def run(asked: Options) -> base.Outcome:
    """Train and measure with all processes.

    Raises:
        SelfSupError: what the user can mend.
    """
    started = time.perf_counter()  # the time of the result is that of all, with the imports
    asked, loaded, compiled, path = transfer.prepare(asked, 'detection')
    if asked.check:
        return base.Outcome()
    from ..config import RunConfig
    from ..engine.processes.launch import init_distributed, shut_down

    session = base.Session(asked, started)
    # The process group outlives the training.
    session.device = init_distributed(asked.launcher, **RunConfig.of(compiled).dist_cfg)
    training.train(asked, loaded, compiled)
    measuring = detector.Options(
        config=asked.config,
        checkpoint=str(path.with_name('latest.pth')),
        pretrained=asked.weights,
        show=SHOWN,
        force=True,
    )
    outcome = detector.measure(session, measuring, path.parent)
    shut_down()
    return outcome
