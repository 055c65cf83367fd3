"""Write the features of a data set as NumPy files, for linear classifiers on frozen layers.

    python tools/extract.py CFG --pretrained W.pth --dataset-config DATA.py --layer-ind 0,1,2,3,4 [--work_dir DIR]

gives {work_dir}/features/{split}_feat{N}.npy, (images, numbers) float32, N = position in --layer-ind from 1 on. DATA.py has
`data = dict(imgs_per_gpu=32, workers_per_gpu=2, extract=dict(type='ExtractDataset', ...))`, `split_name = ['a', 'b']` and
`split_at = [5011]`: the rows where the next split begins. {split}_names.json lists the images of the rows, extracted.json says what
each array is of: features of other weights, layers or images are replaced with --force only.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError
from . import options

TYPE_CHECKING = False  # see options.py
if TYPE_CHECKING:
    from typing import Any

    from . import base


class Options(options.Options):
    """See the `help` of each field."""

    config: str = options.option(options.MISSING, 'config', help='config file: its backbone is used')
    checkpoint: str | None = options.option(None, one_of='weights', help='checkpoint of a run with this config')
    pretrained: str | None = options.option(None, one_of='weights', help="backbone weights, or 'random' for none")
    dataset_config: str = options.option(
        'benchmarks/extract_info/voc07.py', help='images and splits (default: VOC2007)'
    )
    layer_ind: str = options.option('0,1,2,3,4', help='layers, 0 = stem (default: all five)')
    work_dir: str | None = options.option(None, '--work_dir', help='default: work_dirs/ + path of the config')
    force: bool = options.option(False, help='replace features of other weights, layers or images')

    def layers(self) -> list[int]:
        """Numbers of the layers.

        Raises:
            ConfigError: `layer_ind` is no list of numbers.
        """
        try:
            return [int(word) for word in self.layer_ind.split(',')]
        except ValueError:
            raise ConfigError(
                f'--layer-ind {self.layer_ind!r}: write numbers with commas, for example 0,1,2,3,4.'
            ) from None


def run(asked: Options) -> base.Outcome:
    """Extract with all processes; rank 0 writes the arrays.

    Raises:
        SelfSupError: what the user can mend.
    """
    from . import base

    layers = asked.layers()
    from .. import distributed as dist
    from ..datasets.loaders import build_loader
    from ..engine.processes.launch import shut_down
    from ..evaluation import extracted
    from ..evaluation.features import collect, evaluating
    from ..evaluation.layer_features import pool_layers, read_splits, refuse_unreadable, save_splits

    data, names, at = read_splits(asked.dataset_config)
    session = base.Session(asked)
    compiled, whole = session.compiled, asked.checkpoint is not None
    compiled['model']['backbone']['out_indices'] = layers
    weights = asked.checkpoint or asked.pretrained or 'random'
    folder = Path(asked.work_dir or base.work_dir(compiled, asked.config)) / 'features'
    made_of = extracted.origin(compiled['model'], weights, whole, layers, data['extract'], session.backend)
    extracted.check_free(folder, made_of, names, asked.force)

    device = session.join()
    model = session.judged(weights, whole)
    loading = {
        'batch_size': data['imgs_per_gpu'],
        'num_workers': data.get('workers_per_gpu', 'auto'),
        'dataset': data['extract'],
        'pipeline_backend': session.backend,
        'sampler': {'type': 'EpochSampler', 'shuffle': False},
    }
    loader = build_loader(loading, seed=0, device=device, rank=dist.rank(), world_size=dist.world_size())

    def features_of(batch: dict[str, Any]) -> dict[str, Any]:
        refuse_unreadable(loader.dataset)
        return pool_layers(model.extract(batch['img']), layers)

    with evaluating(model):
        features = collect(features_of, loader)
    loader.close()
    lines: list[str] = []
    if dist.is_main():
        lines = [f'{path}: {rows:,} x {width:,}' for path, (rows, width) in save_splits(features, folder, names, at)]
        extracted.note(folder, made_of, names, at, loader.dataset)
    shut_down()
    return base.Outcome(lines)
