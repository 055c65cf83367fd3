"""Protocols: what is measured of trained weights, and how. A protocol is options -> run -> result.

Start in `base.py`, what every protocol has around its measurement, then read one whole: `knn.py`. A protocol is a module with a
docstring (what --help says), a dataclass `Options` (see `options.py`: its fields are the command line too) and
`run(options) -> Outcome`, which writes a result (`evaluation/results/record.py`). All processes call `run`; rank 0 writes.

To add one: a module, and a line in `PROTOCOLS`; tools/evaluate.py then knows it. `training`, `extraction`, `svm_scores`, `classifier` and
`detector` are steps that have a tool of their own: `command` makes its `main`. `demo`, `doctor` and `make_shards` judge no weights: they
are what the tools of their names run, and stand here because they lead options to a run in the same way; `jobs/` sends one to a cluster.

Only tools/ and benchmarks/ import this room. Nothing here imports torch before the options are read, so that --help is quick.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from types import MappingProxyType

from .options import parse

# name -> (module, what it measures)
PROTOCOLS = MappingProxyType(
    {
        'linear': ('transfer', 'train a linear head on the frozen backbone: top-1, top-5'),
        'semi': ('transfer', 'fine-tune on few labels: top-1, top-5'),
        'finetune': ('transfer', 'fine-tune on all labels: top-1, top-5'),
        'detection': ('detection', 'train a detector: average precisions'),
        'knn': ('knn', 'weighted vote of the nearest training images: top-1'),
        'linear_cached': (
            'linear_cached',
            'linear heads on cached features, several learning rates at once: top-1, top-5',
        ),
        'voc07_svm': ('voc07_svm', 'linear SVMs on VOC2007, full and low-shot: mean average precision'),
    }
)


def command(module: str, protocol: str | None = None) -> Callable[..., None]:
    """The `main` of a tool: reads the command line, runs, prints.

    Args:
        module: of this room.
        protocol: its second argument, where it holds several protocols.
    """

    def main(words: Sequence[str] | None = None, prog: str | None = None) -> None:
        chosen = import_module(f'.{module}', __name__)
        asked = parse(chosen.Options, chosen.__doc__ or '', words, prog)
        outcome = chosen.run(asked, protocol) if protocol else chosen.run(asked)
        if outcome.lines:
            print('\n'.join(outcome.lines))

    return main
