"""Weighted kNN accuracy of frozen features (arXiv:1805.01978): python tools/knn.py CFG --pretrained W.pth --k 10,20,200

The images are those of the config's KNNHook; without one, those of data.train vote, seen through the pipeline of data.val, on
those of data.val. --dataset-config FILE.py, with `train = dict(type='ClassificationDataset', ...)` and `test = dict(...)`, goes
before both.
"""

from __future__ import annotations

import math
from pathlib import Path

from .. import cli
from ..errors import ConfigError
from . import options

TYPE_CHECKING = False  # see options.py
if TYPE_CHECKING:
    from typing import Any

    from . import base


class Options(options.LabelledData):
    """See the `help` of each field."""

    checkpoint: str | None = options.option(None, one_of='weights', help='checkpoint of a run with this config')
    pretrained: str | None = options.option(None, one_of='weights', help="backbone weights, or 'random' for none")
    dataset_config: str | None = options.option(None, help='Python file with train and test')
    k: str = options.option('10,20,200', help='numbers of neighbours (default: 10,20,200)')
    temperature: float = options.option(
        0.07, type=float, help='of the weights exp(similarity / T), T > 0 (default: 0.07)'
    )
    batch_size: int = options.option(256, type=int, help='images per process at once')
    workers: int = options.option(0, type=int, help='loader workers per process')
    seed: int = options.option(0, type=cli.seed, help='of the weights of --pretrained random')
    work_dir: Path | None = options.option(
        None,
        '--work_dir',
        type=Path,
        help='where knn.json goes (default: work_dirs/ + path of config + name of weights)',
    )
    force: bool = options.option(False, help='replace an existing knn.json')

    def neighbours(self) -> list[int]:
        """Numbers of neighbours.

        Raises:
            ConfigError: `k` is no list of numbers, or the temperature is none.
        """
        words = self.k.split(',')
        if not all(word.strip().isdecimal() and int(word) for word in words) or not 0 < self.temperature < math.inf:
            raise ConfigError(
                f'--k {self.k!r} --temperature {self.temperature}: write whole numbers of 1 or more with commas, and a T > 0.'
            )
        return [int(word) for word in words]


def run(asked: Options) -> base.Outcome:
    """Measure; writes knn.json.

    Raises:
        SelfSupError: what the user can mend.
    """
    from . import base

    neighbours = asked.neighbours()
    session = base.Session(asked)
    from .. import distributed as dist
    from ..engine.processes.launch import shut_down
    from ..evaluation.effective_rank import rankme_of_some
    from ..evaluation.features import extract_features
    from ..evaluation.knn import knn_accuracy
    from ..evaluation.labelled import labelled_loaders, labelled_pair, with_images
    from ..evaluation.results.record import check_free

    weights = asked.checkpoint or asked.pretrained or 'random'
    folder = asked.work_dir or base.work_dir(session.compiled, asked.config, weights)
    path = check_free(folder / 'knn.json', asked.force)
    pair = with_images(labelled_pair(session.compiled, asked.dataset_config), (asked.train_data, asked.test_data))
    sections = [{**section, 'pipeline_backend': session.backend} for section in pair]
    device = session.join()
    loaders = labelled_loaders(
        sections, batch_size=asked.batch_size, num_workers=asked.workers, device=device, seed=asked.seed
    )
    model = session.judged(weights, asked.checkpoint is not None, asked.seed)
    if max(neighbours) > len(loaders[0].dataset):  # known before hours of extraction
        raise ConfigError(
            f'--k {asked.k}: there are {len(loaders[0].dataset)} training images; write numbers up to that.'
        )
    features: list[Any] = []
    missing = []
    for loader in loaders:
        features += extract_features(model, loader)
        missing.append(len(loader.dataset) - len(features[-1]))
        loader.close()
    train, train_labels, test, test_labels = features
    accuracy = knn_accuracy(train, train_labels, test, test_labels, k=neighbours, temperature=asked.temperature)
    outcome = base.Outcome()
    if dist.is_main():
        settings = {
            'temperature': asked.temperature,
            'train_images': len(train),
            'test_images': len(test),
            'left_out': dict(zip(('train', 'test'), missing, strict=True)),
            'dataset_config': asked.dataset_config,
            **asked.other_images(),
        }
        numbers = {**{f'knn_{k}': value for k, value in accuracy.items()}, **rankme_of_some(train)}
        result = session.write(path, 'knn', numbers, settings, weights=weights, seed=asked.seed, force=asked.force)
        outcome = base.Outcome(
            [*(f'{name}: {value:.2f}' for name, value in numbers.items()), f'result: {path}'], [result]
        )
    shut_down()
    return outcome
