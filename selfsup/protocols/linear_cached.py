"""Linear classification on cached features: extract once, train all heads at several learning rates at once.

    python tools/linear_cached.py CFG --pretrained W.pth --lrs 0.01,0.1,1,10,30 --epochs 100

CFG is a config of linear classification; its backbone is used frozen and in evaluation mode, its heads in float32. Without --views
the images are seen as in data.val; with --views N in N draws of the pipeline of data.train, epoch e using draw e modulo N.
"""

from __future__ import annotations

import time
from pathlib import Path

from .. import cli
from . import options

TYPE_CHECKING = False  # see options.py
if TYPE_CHECKING:
    from ..evaluation.linear.cached import CachedHeads
    from . import base


class Options(options.LabelledData):
    """See the `help` of each field."""

    pretrained: str = options.option(options.MISSING, help="backbone weights, or 'random' for none")
    lrs: str | None = options.option(None, help='learning rates with commas (default: that of the config)')
    epochs: int | None = options.option(None, type=int, help='default: those of the config')
    batch_size: int | None = options.option(None, type=int, help='images per step (default: imgs_per_gpu)')
    views: int = options.option(0, type=int, help='draws of the training pipeline (default: 0, no augmentation)')
    flip: bool = options.option(False, help='each draw mirrored too')
    dtype: str = options.option('float16', help='float16 (default) or float32, of the cache')
    cache: Path | None = options.option(
        None, type=Path, help='folder of the cache (default: cache/ in the work dir); a cache that fits is used again'
    )
    seed: int = options.option(0, type=cli.seed, help='of heads, order and draws')
    work_dir: Path | None = options.option(
        None, '--work_dir', type=Path, help='default: work_dirs/ + path of config + name of weights'
    )
    force: bool = options.option(False, help='replace linear_cached.json, and a cache of other features')


def run(asked: Options) -> base.Outcome:
    """Extract, train and measure; writes linear_cached.json. Rank 0 trains alone, on features that all have extracted.

    Raises:
        SelfSupError: what the user can mend.
    """
    from . import base

    session = base.Session(
        asked, data={('--train-data', 'train'): asked.train_data, ('--test-data', 'val'): asked.test_data}
    )
    from ..engine.processes.launch import shut_down
    from ..evaluation.linear import cached
    from ..evaluation.linear.head_inputs import both_caches
    from ..evaluation.results.record import check_free

    compiled = session.compiled
    folder = asked.work_dir or base.work_dir(compiled, asked.config, asked.pretrained)
    path = check_free(folder / 'linear_cached.json', asked.force)
    rates = cached.parse_rates(asked.lrs, compiled)
    cached.check_run(compiled, rates, asked.epochs, asked.batch_size)
    device = session.join()
    model = session.judged(asked.pretrained, seed=asked.seed)
    wanted = {name: getattr(asked, name) for name in ('views', 'flip', 'dtype', 'seed', 'force')}
    cache = asked.cache or folder / 'cache'
    train, test, accuracy = both_caches(model, compiled, cache, weights=asked.pretrained, device=device, **wanted)
    shut_down()
    if train is None or test is None:  # rank 0 goes on alone
        return base.Outcome()
    epochs = asked.epochs or compiled['train_cfg']['max_epochs']
    heads = cached.CachedHeads(
        model.head,
        rates,
        compiled,
        train,
        batch_size=asked.batch_size or compiled['train_dataloader']['batch_size'],
        epochs=epochs,
        seed=asked.seed,
        drop_last=compiled['train_dataloader'].get('drop_last', False),
    )
    extracted = time.perf_counter()
    train_all(heads)
    numbers, chosen = cached.best_rates(heads.evaluate(test, accuracy), rates)
    settings = {
        'views': asked.views,
        'flip': asked.flip,
        'dtype': asked.dtype,
        'rates': rates,
        'rate_chosen_on_the_test_set': chosen,
        'epochs': epochs,
        **asked.other_images(),
        'batch_size': heads.batch_size,
        'seconds_extraction': round(extracted - session.started, 2),
        'left_out': {'train': train.left_out, 'test': test.left_out},
        'parameters': heads.parameters(model),
    }
    result = session.write(
        path, 'linear_cached', numbers, settings, weights=asked.pretrained, seed=asked.seed, force=asked.force
    )
    return base.Outcome([*(f'{name}: {value:.2f}' for name, value in numbers.items()), f'result: {path}'], [result])


def train_all(heads: CachedHeads) -> None:
    """Train to the end; prints the losses five times."""
    epochs = heads.epochs
    for epoch in range(epochs):
        losses = heads.train_epoch(epoch)
        if (epoch + 1) % max(1, epochs // 5) == 0 or epoch + 1 == epochs:
            shown = (f'{loss:.4f} (lr {rate:g})' for loss, rate in zip(losses, heads.rates, strict=True))
            print(f'epoch {epoch + 1}: loss', *shown, flush=True)
