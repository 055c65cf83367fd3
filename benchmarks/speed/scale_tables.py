"""The tables of docs/scaling.md: what the shipped recipes send and hold on 8 to 1,024 GPUs, by the formulas of `scale.py`.

python benchmarks/speed/traffic.py --tables
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from selfsup.evaluation.analysis.scale import (
    Sizes,
    between_steps,
    collectives,
    memory,
    sent,
    sharded_collectives,
)

RESULTS = Path(__file__).resolve().parents[1] / 'results' / 'speed'
WORLDS = (8, 32, 128, 512, 1024)
IMAGENET = 1_281_167
MB, GB = 1e6, 1e9
# of the configs of those names; parameters as `parameters.json` of a run counts them
RECIPES: dict[str, Sizes] = {
    'MoCo v1, ResNet-50': Sizes('MOCO', 23_770_304, copied=23_823_477, entries=65536, logs=2),
    'MoCo v2, ResNet-50': Sizes('MOCO', 27_966_656, copied=28_019_829, entries=65536, logs=2),
    'SimCLR, ResNet-50': Sizes('SimCLR', 27_968_832, logs=2, optimizer='LARS'),
    'BYOL, ResNet-50': Sizes('BYOL', 35_067_456, copied=33_019_126, dim=256, logs=2, optimizer='LARS'),
    'SwAV with a queue, ResNet-50': Sizes(
        'SwAV', 28_354_752, batch=64, entries=3000, views=8, queue=3840, logs=2, optimizer='LARC'
    ),
    'DINO, ResNet-50': Sizes(
        'DINO', 49_202_496, fixed=65_536, copied=49_321_205, batch=64, entries=65536, views=10, logs=5
    ),
    'LeJEPA, ResNet-50': Sizes(
        'LeJEPA', 32_958_016, batch=64, dim=512, entries=17_408, views=8, logs=3, optimizer='AdamW'
    ),
    'NPID, ResNet-50': Sizes('NPID', 23_770_304, images=IMAGENET, negatives=65536, logs=2),
    'ODC, ResNet-50': Sizes('ODC', 27_258_448, batch=64, dim=256, entries=10_000, images=IMAGENET, logs=3),
    'DeepCluster, ResNet-50': Sizes(
        'DeepCluster', 43_994_896, batch=64, dim=2048, entries=10_000, images=IMAGENET, logs=2
    ),
    'Relative-Loc, ResNet-50': Sizes('RelativeLoc', 40_330_312, batch=64, logs=2),
    'Rotation, ResNet-50': Sizes('RotationPred', 23_516_228, batch=16, logs=2),
    'SparK, ResNet-50': Sizes('SparK', 52_921_835, batch=128, norms=(533,) * 57, optimizer='LAMB'),
    'FCMAE, ConvNeXt V2-B': Sizes('FCMAE', 91_922_432, batch=64, optimizer='AdamW'),
    'FCMAE, ConvNeXt V2-L': Sizes('FCMAE', 200_910_592, batch=64, optimizer='AdamW'),
    'FCMAE, ConvNeXt V2-H': Sizes('FCMAE', 662_616_192, batch=64, optimizer='AdamW'),
    'Classification, ConvNeXt V2-H': Sizes('Classification', 660_289_640, batch=64, logs=2, optimizer='AdamW'),
}
LARGE = ('FCMAE, ConvNeXt V2-L', 'FCMAE, ConvNeXt V2-H', 'Classification, ConvNeXt V2-H')


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def _amount(number: float, unit: float) -> str:
    value = number / unit
    return '0' if not number else f'{value:.3g}' if value < 1000 else f'{value:,.0f}'


def _sent(sizes: Sizes, world: int, of: Any = collectives) -> float:
    return sum(sent(one.kind, one.payload, world) for one in of(sizes, world))


def traffic_table() -> str:
    """Bytes that one GPU sends per step; of them for the gradients."""
    rows = []
    for name, sizes in RECIPES.items():
        gradients = sent('all_reduce', 4 * sizes.trained, WORLDS[-1])
        rows.append(
            [
                name,
                str(sizes.batch),
                *(_amount(_sent(sizes, w), MB) for w in WORLDS),
                f'{100 * gradients / _sent(sizes, WORLDS[-1]):.0f} %',
            ]
        )
    head = ['recipe', 'images per GPU', *(f'{w:,} GPUs' for w in WORLDS), 'gradients at 1,024']
    return _table(head, rows)


def parts_table() -> str:
    """What else than gradients is sent."""
    rows = []
    for name, sizes in RECIPES.items():
        for one in collectives(sizes, 8):
            if one.what in ('gradients', 'logged values') or one.payload < 1000:
                continue
            each = [next(c.payload for c in collectives(sizes, w) if c.what == one.what) for w in WORLDS]
            amounts = (_amount(sent(one.kind, p, w), MB) for p, w in zip(each, WORLDS, strict=True))
            rows.append([name, one.what, one.kind.replace('_', '-'), *amounts])
        for one in between_steps(sizes, 8):
            each = [next(c.payload for c in between_steps(sizes, w) if c.what == one.what) for w in WORLDS]
            amounts = (_amount(sent(one.kind, p, w), MB) for p, w in zip(each, WORLDS, strict=True))
            rows.append([name, one.what, one.kind.replace('_', '-'), *amounts])
    return _table(['recipe', 'what', 'how', *(f'{w:,} GPUs' for w in WORLDS)], rows)


def memory_table() -> str:
    """Bytes that one GPU holds beside activations."""
    rows = []
    for name, sizes in RECIPES.items():
        parts = memory(sizes, 1024)
        network = sum(
            parts.get(key, 0) for key in ('weights', 'gradients', 'DDP buckets', 'optimizer', 'momentum copy')
        )
        rows.append(
            [
                name,
                _amount(network, GB),
                _amount(parts.get('queue or bank', 0), GB),
                _amount(memory(sizes, 8).get('loss', 0), GB),
                _amount(parts.get('loss', 0), GB),
                _amount(memory(sizes, 8).get('gathered rows', 0), GB),
                _amount(parts.get('gathered rows', 0), GB),
                _amount(sum(parts.values()), GB),
            ]
        )
    head = [
        *('recipe', 'network and optimizer', 'queue or bank', 'loss, 8 GPUs', 'loss, 1,024'),
        *('gathered, 8 GPUs', 'gathered, 1,024', 'all, 1,024'),
    ]
    return _table(head, rows)


def sharded_table() -> str:
    """DDP and FSDP side by side."""
    rows = []
    for name in LARGE:
        sizes = RECIPES[name]
        rows.append(
            [
                name,
                _amount(sum(memory(sizes, 8).values()), GB),
                *(_amount(sum(memory(sizes, w, fsdp=True).values()), GB) for w in (8, 64)),
                _amount(_sent(sizes, 8), GB),
                _amount(_sent(sizes, 8, sharded_collectives), GB),
                _amount(_sent(sizes, 8, lambda s, w: sharded_collectives(s, w, reshard=False)), GB),
            ]
        )
    head = [
        *('recipe', 'GB held, DDP', 'fsdp, 8 GPUs', 'fsdp, 64 GPUs'),
        *('GB sent per step, DDP', 'fsdp', 'fsdp, reshard_after_forward=False'),
    ]
    return _table(head, rows)


def counted_table() -> str:
    """Formulas against counts."""
    rows = []
    worlds = json.loads((RESULTS / 'traffic.json').read_text())['worlds']
    for world, found in worlds.items():
        for kind in ('collectives of 4 MiB', 'steps'):
            for name, one in found['wire'][kind].items():
                if kind == 'steps':
                    payload = found['payload'][name]
                    same = 'equal' if payload['counted'] == payload['formula'] else 'DIFFERENT'
                else:
                    same = '-'
                ratio = one['counted'] / one['ring']
                title = name if kind == 'steps' else f'one {name.replace("_", "-")} of 4 MiB'
                rows.append([world, title, same, f'{one["ring"]:,}', f'{one["counted"]:,}', f'{ratio:.3f}'])
    return _table(['processes', 'what', 'payload', 'ring, bytes', 'on the wire, bytes', 'ratio'], rows)


def data_table() -> str:
    """Index and order of a data set."""
    cases = json.loads((RESULTS / 'billion.json').read_text())['cases']
    rows = [
        [
            f'`{name}`',
            f'{one["images"]:,}',
            f'{one["bytes_per_image"]:.0f}',
            f'{one["peak_bytes_per_image"]:.0f}',
            f'{one["peak_bytes_per_image"]:.0f} GB',
            f'{one["seconds_per_million"]:.2f}',
            f'{one["seconds_per_million"] * 1000 / 60:.0f} min',
        ]
        for name, one in cases.items()
    ]
    head = [
        *('what', 'measured with', 'bytes per image, kept', 'peak', 'peak at a billion'),
        *('s per million', 'at a billion'),
    ]
    return _table(head, rows)


TABLES = {
    'traffic': traffic_table,
    'parts': parts_table,
    'memory': memory_table,
    'sharded': sharded_table,
    'counted': counted_table,
    'data': data_table,
}


def tables() -> str:
    """All of them, each between the comments that enclose it on the page."""
    return '\n\n'.join(f'<!-- {name} -->\n{make()}\n<!-- end of {name} -->' for name, make in TABLES.items())
