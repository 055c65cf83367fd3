"""VOC2007 linear SVMs on frozen features, full and low-shot: extracts all five layers, then judges those that are asked for.

    python tools/evaluate.py voc07_svm CFG W.pth --features "feat4 feat5"

Before hours of extraction it is checked that the outputs are free and the labels fit. Features and results lie in the work dir of
tools/train.py, then the name of the weights; with --epoch N, which judges a checkpoint of the run with this config, in its work dir.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from . import base, extraction, options, svm_scores
from .transfer import need_file


class Options(options.Options):
    """See the `help` of each field."""

    weights: str = options.option('random', 'weights', nargs='?', help="file of weights, or 'random' (default)")
    epoch: str | None = options.option(None, metavar='N', help='judge epoch_N.pth of the work dir instead of `weights`')
    features: str = options.option('feat5', help='layers, feat1 to feat5, with spaces between (default: feat5)')
    labels: Path = options.option(svm_scores.LABELS, type=Path, help=f'default: {svm_scores.LABELS}')
    dataset_config: str = options.option(
        'benchmarks/extract_info/voc07.py', help='images and splits (default: VOC2007)'
    )
    k: Sequence[int] | None = options.option(None, type=int, nargs='+', help='see benchmarks/svm.py')
    samples: Sequence[int] | None = options.option(None, type=int, nargs='+', help='see benchmarks/svm.py')
    solver: str = options.option('batched', choices=('batched', 'sklearn'), help='see benchmarks/svm.py')
    device: str | None = options.option(None, help='see benchmarks/svm.py')
    only: str | None = options.option(
        None, choices=('check', 'features', 'svm'), help='one step alone; several processes share that of the features'
    )
    force: bool = options.option(False, help='replace features and results that exist')


def run(asked: Options) -> base.Outcome:
    """Check, extract, judge.

    Raises:
        SelfSupError: what the user can mend.
    """
    layers = asked.features.split() or ['feat5']
    if not all(re.fullmatch('feat[1-5]', layer) for layer in layers):
        raise UsageError(f"FEAT_LIST '{asked.features}': give layers, feat1 to feat5, with spaces between")
    need_file('config', asked.config)
    folder, weights = judged(asked)
    steps = [asked.only] if asked.only else ['check', 'features', 'svm']
    outcomes = []
    if 'check' in steps:
        outcomes += [svm_scores.run(scores(asked, folder, weights, layers, low, check=True)) for low in (False, True)]
    if 'features' in steps:
        extracting = extraction.Options(
            config=asked.config,
            checkpoint=weights if asked.epoch else None,
            pretrained=None if asked.epoch else weights,
            dataset_config=asked.dataset_config,
            work_dir=str(folder),
            force=asked.force,
            launcher=asked.launcher,
            port=asked.port,
            cfg_options=asked.cfg_options,
        )
        outcomes.append(extraction.run(extracting))
        if not outcomes[-1].lines:  # rank 0 goes on alone
            return base.Outcome()
    if 'svm' in steps:
        outcomes += [svm_scores.run(scores(asked, folder, weights, layers, low)) for low in (False, True)]
    return base.Outcome([x for o in outcomes for x in o.lines], [x for o in outcomes for x in o.results])


def judged(asked: Options) -> tuple[Path, str]:
    """The work dir, and the file of weights or 'random'.

    Raises:
        UsageError: there is no such file.
    """
    if asked.epoch is None and asked.weights != 'random':
        need_file('weights', asked.weights)
    from ..config import compile_config, load

    compiled = compile_config(load(asked.config, list(asked.cfg_options)))
    if asked.epoch is None:
        return base.work_dir(compiled, asked.config, asked.weights), asked.weights
    folder = base.work_dir(compiled, asked.config)
    path = folder / f'epoch_{asked.epoch}.pth'
    if not path.is_file():
        raise UsageError(
            f'there is no {path}: this is where tools/train.py writes what it trains from {asked.config}. Trained elsewhere? Give '
            'the checkpoint to benchmarks/dist_test_svm_pretrain.sh'
        )
    return folder, str(path)


def scores(
    asked: Options, folder: Path, weights: str, layers: Sequence[str], low_shot: bool, check: bool = False
) -> svm_scores.Options:
    """What `svm_scores` is asked for the full or the low-shot protocol."""
    return svm_scores.Options(
        work_dir=folder,
        features=layers,
        low_shot=low_shot,
        labels=asked.labels,
        k=asked.k,
        samples=asked.samples,
        solver=asked.solver,
        device=asked.device,
        config=asked.config,
        weights=None if weights == 'random' else weights,
        check=check,
        force=asked.force,
    )
