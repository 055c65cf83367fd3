"""What is compared, at which budget: the methods that have a small config, their runs as configs, their iterations. Trains nothing."""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfsup import config
from selfsup.config.text import to_text

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / 'benchmarks/results/compare'
CORES = 2  # of the machine that every budget is counted on
FACTORS = (1 / 3, 1.0, 3.0)  # of the config's learning rate, that the search tries
SUPERVISED = 'classification/cifar10/r18_small.py'
LINEAR = 'benchmarks/linear_classification/cifar10/r18_small.py'
DATA = 'data/cifar10'  # that configs name
MEASURING = ('KNNHook', 'ValidateHook', 'ReconstructionHook', 'ProbeHook')  # not part of the training that is timed
UNTRAINED = 'untrained'


@dataclass(frozen=True)
class Method:
    """One row of the comparison.

    Attributes:
        name: of its files.
        title: as papers call it.
        config: file, from `configs/` on.
        cfg: of that file, merged.
        untrained: name of the files that hold what its network gives before training.
    """

    name: str
    title: str
    config: str
    cfg: dict[str, Any]
    untrained: str = UNTRAINED

    @property
    def missing(self) -> list[str]:
        """Files of weights that its model needs and that are not there, such as a teacher's."""
        return [
            path for path in _weights(self.cfg['model']) if not (ROOT / path).is_file() and not Path(path).is_file()
        ]

    @property
    def labelled(self) -> tuple[dict, dict]:
        """Data sets that kNN and the linear probe read: those of its KNNHook, else `data.val` and the images of `data.train`."""
        for hook in self.cfg.get('custom_hooks', []):
            if hook['type'] == 'KNNHook':
                return hook['train'], hook['test']
        train, test = self.cfg['data']['train'], self.cfg['data']['val']
        return {**test, 'data_source': train['data_source']}, test


def _weights(value: Any) -> list[str]:
    """All values in `value` that end as files of weights do."""
    if isinstance(value, Mapping):
        return [path for item in value.values() for path in _weights(item)]
    if isinstance(value, (list, tuple)):
        return [path for item in value for path in _weights(item)]
    return [value] if isinstance(value, str) and value.endswith(('.pth', '.pt', '.safetensors')) else []


def find_methods(configs: Path = ROOT / 'configs') -> dict[str, Method]:
    """Every method with a small config `selfsup/METHOD/*_cifar10_small*.py`, by name; then the supervised run."""
    found = {}
    for path in sorted((configs / 'selfsup').glob('*/*_cifar10_small*.py')):
        name = path.parent.name + path.stem.split('_cifar10_small')[1]
        found[name] = _method(name, path, configs)
    found['supervised'] = _method('supervised', configs / SUPERVISED, configs, title='Supervised')
    return with_networks(found)


def _method(name: str, path: Path, configs: Path, title: str | None = None) -> Method:
    """The title is what the docstring of the config says before the paper: 'ODC, online deep clustering (arXiv:...' is ODC."""
    first = path.read_text().lstrip('"').splitlines()[0]
    return Method(
        name,
        title or re.split(r'[,(]| on ', first)[0].strip(),
        path.relative_to(configs).as_posix(),
        config.load(path).cfg,
    )


def with_networks(methods: dict[str, Method]) -> dict[str, Method]:
    """Methods whose network sees the same images before training share files: `untrained`, or `untrained_NAME` of the first of them."""
    networks = {name: to_text({'x': [m.cfg['model']['backbone'], m.labelled]}) for name, m in methods.items()}
    if not networks:
        return {}
    ((common, _),) = Counter(networks.values()).most_common(1)
    first = {text: name for name, text in reversed(networks.items())}
    return {
        name: Method(
            name,
            m.title,
            m.config,
            m.cfg,
            UNTRAINED if networks[name] == common else f'{UNTRAINED}_{first[networks[name]]}',
        )
        for name, m in methods.items()
    }


def training_text(method: Method, data: str, iterations: int, factor: float = 1.0) -> str:
    """Config of a run: its method's, for `iterations`, at `factor` times its learning rate, that measures nothing but its time.

    Args:
        data: folder with train/ and test/ in the place of data/cifar10.
        iterations: that the schedules end with.
        factor: of every learning rate of the optimizer.
    """
    cfg = moved(method.cfg, data)
    epochs = cfg.pop('total_epochs')
    images = sum(1 for path in Path(data, 'train').glob('*/*') if path.is_file())
    per_epoch = max(1, images // cfg['data']['imgs_per_gpu'])
    cfg |= {
        'total_iters': iterations,
        'optimizer': with_rate(cfg['optimizer'], factor),
        'lr_config': stretched(cfg['lr_config'], iterations / per_epoch / epochs, factor),
        'custom_hooks': [
            *(hook for hook in cfg.get('custom_hooks', []) if hook['type'] not in MEASURING),
            {'type': 'TrainingTimeHook'},
        ],
        'checkpoint_config': {'interval': 10**6},  # only the last
        'log_config': {**cfg['log_config'], 'interval': min(cfg['log_config']['interval'], iterations)},
        'custom_imports': {'imports': ['benchmarks.small.training_time']},
    }
    cfg['data'].pop('val', None)
    return to_text(cfg)


def with_rate(optimizer: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """An optimizer with all learning rates times `factor`: its own, and those that `paramwise_options` write out."""
    changed = {key: _times(value, factor) if key in ('lr', 'base_lr') else value for key, value in optimizer.items()}
    if optimizer.get('paramwise_options'):
        changed['paramwise_options'] = {
            pattern: {key: _times(value, factor) if key == 'lr' else value for key, value in options.items()}
            for pattern, options in optimizer['paramwise_options'].items()
        }
    return changed


def rate_of(optimizer: Mapping[str, Any]) -> dict[str, float]:
    """The learning rate that an optimizer's config gives, under its name."""
    return {key: optimizer[key] for key in ('lr', 'base_lr') if key in optimizer}


def stretched(lr_config: Mapping[str, Any], times: float, factor: float) -> dict[str, Any]:
    """A schedule for a run `times` as long: steps in epochs move with its end. Its smallest rate is times `factor`, as all rates are."""
    changed = dict(lr_config)
    if 'step' in changed and changed.get('by_epoch', True):
        steps = changed['step'] if isinstance(changed['step'], (list, tuple)) else [changed['step']]
        changed['step'] = [max(1, round(step * times)) for step in steps]
    if changed.get('min_lr'):
        changed['min_lr'] = _times(changed['min_lr'], factor)
    return changed


def _times(value: float, factor: float) -> float:
    return float(f'{value * factor:.4g}')


def moved(value: Any, data: str) -> Any:
    """A copy of a config that reads its images in `data` and not in data/cifar10."""
    if isinstance(value, Mapping):
        return {key: moved(item, data) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(moved(item, data) for item in value)
    if isinstance(value, str) and (value == DATA or value.startswith(f'{DATA}/')):
        return data + value.removeprefix(DATA)
    return value


def images_text(method: Method, data: str) -> str:
    """Data file for `tools/knn.py --dataset-config`: what `Method.labelled` names."""
    train, test = method.labelled
    return to_text(moved({'train': train, 'test': test}, data))


def linear_text(method: Method, data: str, channels: int, configs: Path = ROOT / 'configs') -> str:
    """Config for `tools/linear_cached.py`: that of the small ResNet, with the method's backbone and images.

    Args:
        channels: of the last map of the backbone.
    """
    train, test = method.labelled
    cfg = config.load(configs / LINEAR).cfg
    cfg['model']['backbone'] = last_map(method.cfg['model']['backbone'])
    cfg['model']['head']['in_channels'] = channels
    cfg['data'] |= {'train': train, 'val': test}
    return to_text(moved({**cfg, 'custom_hooks': []}, data))


def last_map(backbone: dict[str, Any]) -> dict[str, Any]:
    """A backbone that returns the last of its maps alone: that is what kNN reads."""
    maps = backbone.get('out_indices')
    return {**backbone, 'out_indices': (max(maps),)} if maps else backbone


def backbone_facts(method: Method) -> dict[str, Any]:
    """Type of its backbone, parameters that are trained, channels of the last map."""
    import torch

    from selfsup.optim.trained import trained_and_frozen
    from selfsup.registry import BACKBONES

    built = BACKBONES.build(dict(method.cfg['model']['backbone'])).eval()
    with torch.no_grad():
        channels = built(torch.zeros(1, 3, 32, 32))[-1].shape[1]
    described = method.cfg['model']['backbone']
    name = described.get('model_name') or f'{described["type"]}-{described["depth"]}'
    return {'network': name, 'parameters': trained_and_frozen(built)[0], 'channels': channels}


def iterations_in(measured: Mapping[str, float], budget: float, clock: str) -> int:
    """Iterations that take `budget` seconds, from what a shorter run took.

    What was done before and beside its first iterations, such as a first clustering, is done once in a longer run too.

    Args:
        measured: what `TrainingTimeHook` writes.
        clock: 'wall' or 'cpu'.
    """
    from .training_time import WARM

    prefix = '' if clock == 'wall' else 'cpu_'
    warm_iterations = min(WARM, int(measured['iterations']))
    rest = measured['iterations'] - warm_iterations
    warm = measured[f'warm_{prefix}seconds']
    each = (measured[f'{prefix}seconds'] - warm) / rest if rest else warm / warm_iterations
    once = max(0.0, warm - warm_iterations * each)
    return max(1, int((budget - once) / each))


def best_factor(search: Mapping[float, float | None]) -> float:
    """The factor of the best kNN-20; of equal ones the nearest to 1. A run that diverged has None.

    Raises:
        ValueError: all of them diverged.
    """
    measured = {factor: value for factor, value in search.items() if value is not None}
    if not measured:
        raise ValueError('at every learning rate of the search the run diverged')
    return max(measured, key=lambda factor: (measured[factor], -abs(factor - 1)))


def read_all(folder: Path) -> list[dict[str, Any]]:
    """The result files of a folder."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob('*.json'))]


def spread(values: list[float]) -> dict[str, float]:
    """Mean, standard deviation of the sample (0 for one value), smallest and largest."""
    return {
        'mean': statistics.fmean(values),
        'std': statistics.stdev(values) if len(values) > 1 else 0.0,
        'min': min(values),
        'max': max(values),
    }
