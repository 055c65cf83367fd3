"""What the processes of a training step send, counted: payloads of all collectives of every method, and bytes on the wire.

    python benchmarks/speed/traffic.py --out benchmarks/results/speed/traffic.json    # as root: in a network of its own
    python benchmarks/speed/traffic.py --tables                                       # those of docs/scaling.md

Payloads are counted where this code and DDP hand tensors to torch, in runs of tiny models; bytes on the wire are what the loopback
device of a private network namespace counts (`unshare --net`), all processes together, with the headers of TCP. Both are held against
the formulas of `selfsup/evaluation/analysis/scale.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

BATCH, DIM, IMAGES, CLUSTERS, PIXELS = 3, 16, 40, 4, 64
OUTPUTS, KNOTS, CROPS = 12, 5, (2, 3)  # CROPS: large and small ones of an image
STEPS = 10  # whose bytes on the wire are averaged
RESNET = {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 8, 'out_indices': (4,)}
NECK = {'type': 'NonLinearNeckV1', 'in_channels': 64, 'hid_channels': 24, 'out_channels': DIM}
MLP = {**NECK, 'type': 'MLPNeck'}
CONTRAST = {'type': 'ContrastiveHead', 'temperature': 0.2}
PREDICTOR = {**NECK, 'in_channels': DIM, 'with_avg_pool': False}
POOLED = {'type': 'ClsHead', 'with_avg_pool': True, 'in_channels': 64}
PARTS: dict[str, dict[str, Any]] = {
    'MOCO': {'neck': NECK, 'head': CONTRAST, 'queue_len': 60, 'feat_dim': DIM},
    'SimCLR': {'neck': NECK, 'head': CONTRAST},
    'BYOL': {'neck': NECK, 'head': {'type': 'LatentPredictHead', 'predictor': PREDICTOR}},
    'SimSiam': {'neck': MLP, 'predictor': {**MLP, 'in_channels': DIM, 'with_avg_pool': False}},
    'BarlowTwins': {'neck': MLP},
    'VICReg': {'neck': MLP},
    'MoCoV3': {'neck': MLP, 'predictor': {**MLP, 'in_channels': DIM, 'with_avg_pool': False}},
    'NNCLR': {
        'neck': MLP,
        'predictor': {**MLP, 'in_channels': DIM, 'with_avg_pool': False},
        'queue_len': 60,
        'feat_dim': DIM,
    },
    'DenseCL': {'neck': {**NECK, 'type': 'DenseCLNeck'}, 'head': CONTRAST, 'queue_len': 60, 'feat_dim': DIM},
    'DINO': {'neck': {'type': 'DINONeck', 'in_channels': 64, 'hid_channels': 24, 'out_channels': OUTPUTS}},
    'LeJEPA': {'neck': {**NECK, 'type': 'MLPNeck'}, 'num_slices': OUTPUTS, 'knots': KNOTS},
    'SwAV': {
        'neck': {**NECK, 'type': 'MLPNeck'},
        'num_prototypes': OUTPUTS,
        'feat_dim': DIM,
        'queue_len': 60,
        'queue_start': 0,
    },
    'NPID': {
        'neck': NECK,
        'head': CONTRAST,
        'neg_num': 7,
        'memory_bank': {'type': 'SimpleMemory', 'length': IMAGES, 'feat_dim': DIM},
    },
    'ODC': {
        'neck': {**NECK, 'type': 'NonLinearNeckV0'},
        'head': {'type': 'ClsHead', 'in_channels': DIM, 'num_classes': CLUSTERS},
        'memory_bank': {
            'type': 'ODCMemory',
            'length': IMAGES,
            'feat_dim': DIM,
            'num_classes': CLUSTERS,
            'min_cluster': 2,
        },
    },
    'DeepCluster': {
        'neck': {'type': 'AvgPoolNeck'},
        'head': {'type': 'ClsHead', 'in_channels': 64, 'num_classes': CLUSTERS},
    },
    'RelativeLoc': {
        'neck': {'type': 'RelativeLocNeck', 'in_channels': 64, 'out_channels': 24},
        'head': {'type': 'ClsHead', 'in_channels': 24, 'num_classes': 8},
    },
    'RotationPred': {'head': {**POOLED, 'num_classes': 4}},
    'SparK': {
        'neck': {'type': 'SparKNeck', 'levels': 1},
        'head': {'type': 'MaskedPixelHead'},
        'decoder': {'type': 'LightDecoder', 'width': 32},
        'sync_bn': True,
    },
    'FCMAE': {'decoder': {'type': 'ConvNeXtV2Decoder', 'width': 16}, 'head': {'type': 'MaskedPixelHead'}},
    'Classification': {'head': {**POOLED, 'num_classes': 5}},
}
VIEWS = {
    'BYOLDataset': (2, 3),
    'ContrastiveDataset': (2, 3),
    'RotationPredDataset': (4, 3),
    'RelativeLocDataset': (2, 6),
}


def build(name: str) -> Any:
    """The tiny model of a method, its memory filled."""
    import torch

    import selfsup.models  # noqa: F401
    from selfsup.registry import MODELS

    torch.manual_seed(0)
    model = MODELS.build({'type': name, 'backbone': dict(RESNET), **PARTS[name]})
    if name == 'ODC':
        model.memory_bank.init_memory(torch.randn(IMAGES, DIM), torch.arange(IMAGES) % CLUSTERS)
    return model.train()


def batch_of(name: str) -> dict[str, Any]:
    """Noise, with the labels that the method reads."""
    import torch

    from selfsup.registry import MODELS

    idx = torch.arange(BATCH)
    labels = {
        'NPID': {'idx': idx},
        'ODC': {'idx': idx},
        'DeepCluster': {'idx': idx, 'pseudo_label': idx % CLUSTERS},
        'RelativeLoc': {'patch_label': torch.tensor([[0, 1]] * BATCH)},
        'RotationPred': {'rot_label': torch.arange(4).repeat(BATCH, 1)},
        'Classification': {'gt_label': idx},
    }
    dataset = MODELS.get(name).dataset
    if dataset == 'MultiViewDataset':
        return {'img': [torch.randn(BATCH, number, 3, PIXELS // i, PIXELS // i) for i, number in enumerate(CROPS, 1)]}
    return {'img': torch.randn(BATCH, *VIEWS.get(dataset, (3,)), PIXELS, PIXELS), **labels.get(name, {})}


def sizes_of(name: str, model: Any, step: Any) -> Any:
    """`scale.Sizes` of a tiny model."""
    from torch.nn.modules.batchnorm import _BatchNorm

    from selfsup.evaluation.analysis.scale import Sizes

    shared = [part for part in ('backbone', 'neck') if getattr(model, 'sync_bn', False) and hasattr(model, part)]
    norms = [m.num_features for part in shared for m in getattr(model, part).modules() if isinstance(m, _BatchNorm)]
    return Sizes(
        name,
        sum(p.numel() for p in model.parameters() if p.requires_grad),
        batch=BATCH,
        image=3 * PIXELS * PIXELS,
        dim=DIM,
        entries={'DINO': OUTPUTS, 'SwAV': OUTPUTS, 'LeJEPA': OUTPUTS * KNOTS}.get(name, CLUSTERS),
        views=sum(CROPS),
        queue=60 if name == 'SwAV' else 0,
        channels=model.backbone.out_channels,
        positions=(PIXELS // 32) ** 2 if name == 'DenseCL' else 0,
        images=IMAGES,
        logs=len(step.losses) + len(step.logs),
        norms=tuple(norms),
    )


@contextlib.contextmanager
def counting(found: Counter) -> Iterator[None]:
    """Within it, what this process hands to collectives of torch is added up: (kind, number of calls and bytes)."""
    import torch.distributed as torch_dist

    def size(x: Any) -> int:
        return sum(map(size, x)) if isinstance(x, list) else x.numel() * x.element_size()

    plain = {kind: getattr(torch_dist, kind) for kind in ('all_reduce', 'all_gather', 'broadcast')}

    def counted(kind: str) -> Any:
        def call(first: Any, *args: Any, **kwargs: Any) -> Any:
            found[kind] += size(first)
            return plain[kind](first, *args, **kwargs)

        return call

    try:
        for kind in plain:
            setattr(torch_dist, kind, counted(kind))
        yield
    finally:
        for kind, call in plain.items():
            setattr(torch_dist, kind, call)


def one_step(name: str, wrapped: Any, optimizer: Any) -> Any:
    """Forward, backward, update and the exchange of the logged values, as the loop and `RuntimeInfoHook` do them."""
    import torch

    from selfsup import distributed
    from selfsup.contracts import Progress

    step = wrapped(batch_of(name))
    optimizer.zero_grad()
    step.total.backward()
    optimizer.step()
    wrapped.module.after_update([step.carry], Progress(0, STEPS, STEPS))
    distributed.mean(torch.stack([v.detach().float().mean() for v in (*step.losses.values(), *step.logs.values())]))
    return step


def wrapped_model(name: str, hook: bool = False) -> tuple[Any, Any]:
    """DDP around a tiny model, and its optimizer. `hook`: its buckets go through `torch.distributed.all_reduce`, which can be counted."""
    import torch
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

    from selfsup.engine.processes.ddp import wrap

    settings = {'distributed': True, 'channels_last': False, 'find_unused_parameters': False}
    wrapped: Any = wrap(build(name), torch.device('cpu'), **settings)
    if hook:
        wrapped.register_comm_hook(None, allreduce_hook)
    return wrapped, torch.optim.SGD([p for p in wrapped.parameters() if p.requires_grad], lr=0.01)


def count_payloads() -> dict[str, tuple[dict[str, int], dict[str, int]]]:
    """Of each method: bytes per kind of collective, counted in its second step and by formula. A collective."""
    import torch.distributed as torch_dist

    from selfsup.evaluation.analysis.scale import collectives

    result = {}
    for name in PARTS:
        found: Counter = Counter()
        wrapped, optimizer = wrapped_model(name, hook=True)
        one_step(name, wrapped, optimizer)  # the first one also sets up the buckets
        with counting(found):
            step = one_step(name, wrapped, optimizer)
        expected: Counter = Counter()
        for one in collectives(sizes_of(name, wrapped.module, step), torch_dist.get_world_size()):
            expected[one.kind] += one.payload
        result[name] = dict(sorted(found.items())), dict(sorted(expected.items()))
    return result


# ---- bytes on the wire ----


def loopback_bytes() -> int:
    """Sent through `lo` of this network namespace so far."""
    line = next(one for one in Path('/proc/net/dev').read_text().splitlines() if one.strip().startswith('lo:'))
    return int(line.split(':')[1].split()[8])


def on_wire(act: Any, steps: int = STEPS) -> float:
    """Bytes that all processes together send per call of `act`; those of the barriers around are subtracted."""
    import torch.distributed as torch_dist

    marks = []
    for number in (0, steps):
        torch_dist.barrier()
        before = loopback_bytes()
        torch_dist.barrier()
        for _ in range(number):
            act()
        torch_dist.barrier()
        marks.append(loopback_bytes() - before)
    return (marks[1] - marks[0]) / steps


def measure_wire() -> dict[str, Any]:
    """Bytes per collective of 4 MB and per step of each method, counted and by the formula of the ring. A collective."""
    import torch
    import torch.distributed as torch_dist

    from selfsup.evaluation.analysis.scale import collectives, sent

    world = torch_dist.get_world_size()
    x = torch.ones(2**20)
    parts = [torch.empty(2**20 // world) for _ in range(world)]
    acts = {
        'all_reduce': lambda: torch_dist.all_reduce(x.zero_()),
        'all_gather': lambda: torch_dist.all_gather(parts, parts[0].clone()),
        'broadcast': lambda: torch_dist.broadcast(x, 0),
    }
    alone = {
        kind: {'counted': round(on_wire(act)), 'ring': round(world * sent(kind, 2**22, world))}
        for kind, act in acts.items()
    }
    methods = {}
    for name in PARTS:
        wrapped, optimizer = wrapped_model(name)
        step = one_step(name, wrapped, optimizer)
        one_step(name, wrapped, optimizer)
        formula = sum(
            world * sent(c.kind, c.payload, world) for c in collectives(sizes_of(name, wrapped.module, step), world)
        )
        act = lambda name=name, wrapped=wrapped, optimizer=optimizer: one_step(name, wrapped, optimizer)  # noqa: E731
        methods[name] = {'counted': round(on_wire(act)), 'ring': round(formula)}
    return {'collectives of 4 MiB': alone, 'steps': methods}


# ---- processes ----


def _rank(rank: int, world: int, folder: str, wire: bool) -> None:
    import torch
    import torch.distributed as torch_dist

    torch.set_num_threads(1)
    os.environ.update(GLOO_SOCKET_IFNAME='lo', MASTER_ADDR='127.0.0.1')
    torch_dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=world)
    result: dict[str, Any] = {
        'payload': {
            name: {'counted': counted, 'formula': formula} for name, (counted, formula) in count_payloads().items()
        }
    }
    if wire:
        result['wire'] = measure_wire()
    if rank == 0:
        Path(folder, 'result.json').write_text(json.dumps(result))
    torch_dist.barrier()
    torch_dist.destroy_process_group()


def run(world: int, wire: bool) -> dict[str, Any]:
    """What `world` processes count."""
    import torch.multiprocessing as mp

    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_rank, (world, folder, wire), nprocs=world)
        return json.loads(Path(folder, 'result.json').read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', help='JSON file of the numbers')
    parser.add_argument('--worlds', type=int, nargs='+', default=[2, 4], help='numbers of processes')
    parser.add_argument('--tables', action='store_true', help='print the tables of docs/scaling.md')
    parser.add_argument('--inside', action='store_true', help='in a network of its own already')
    args = parser.parse_args()
    if args.tables:
        from benchmarks.speed.scale_tables import tables

        print(tables())
        return
    if not args.inside and os.getuid() == 0:
        command = f'ip link set lo up && exec {sys.executable} {" ".join(sys.argv)} --inside'
        raise SystemExit(subprocess.call(['unshare', '--net', 'sh', '-c', command]))
    import torch

    result = {
        'machine': platform.machine(),
        'torch': torch.__version__,
        'worlds': {str(world): run(world, args.inside) for world in args.worlds},
    }
    text = json.dumps(result, indent=1) + '\n'
    if args.out:
        Path(args.out).write_text(text)
    print(text)


if __name__ == '__main__':
    main()
