"""Step time, activation memory and arithmetic of masked pretraining: visible blocks only, everything masked, and plain dense.

One process measures all paths of a network in turns, so that what else the machine does hits them alike; what is compared are medians.
`encoder` is forward and backward of the backbone, `fcmae` and `spark` those of the whole algorithm of a shipped config (which have
no dense path). Memory is what autograd keeps between forward and backward: on CPU the bytes of all distinct storages that are saved
for the backward pass, parameters left out; on CUDA the peak of the allocator during a step, less what was there before it.
`limit` is the speed-up that would be reached if hiding cost nothing: one over the visible share.

    python benchmarks/speed/masked_pretrain.py --what encoder --out benchmarks/results/speed/masked_pretrain.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from selfsup.config import compile_config, load
from selfsup.models.visible import encode_visible
from selfsup.registry import BACKBONES, MODELS

ROOT = Path(__file__).resolve().parents[2]
ENCODERS = {
    'resnet50': dict(type='ResNet', depth=50, out_indices=(1, 2, 3, 4)),
    'convnextv2_tiny': dict(type='ConvNeXtV2', arch='tiny', out_indices=(1, 2, 3, 4)),
    'convnextv2_atto': dict(type='ConvNeXtV2', arch='atto', out_indices=(1, 2, 3, 4)),
}
CONFIGS = {'fcmae': ('fcmae/tiny.py',), 'spark': ('spark/r50.py',)}
PATHS = {'encoder': ('visible', 'masked', 'dense'), 'fcmae': ('visible', 'masked'), 'spark': ('visible', 'masked')}


def draw_visible(batch: int, side: int, hidden: float) -> Tensor:
    """(batch, side, side) bool, True = kept, the same number in every image."""
    order = torch.rand(batch, side * side, generator=torch.Generator().manual_seed(0)).argsort(1)
    keep = round(side * side * (1 - hidden))
    return torch.zeros(batch, side * side, dtype=torch.bool).scatter_(1, order[:, :keep], True).view(batch, side, side)


def build(what: str, name: str, device: str) -> nn.Module:
    """A backbone, or the algorithm of a config, in training mode and channels-last."""
    torch.manual_seed(0)
    if what == 'encoder':
        model = BACKBONES.build(ENCODERS[name])
    else:
        model = MODELS.build(compile_config(load(str(ROOT / 'configs' / 'selfsup' / name)))['model'])
    return model.train().to(device, memory_format=torch.channels_last)


def loss_of(what: str, model: nn.Module, img: Tensor, visible: Tensor, path: str) -> Tensor:
    """Something to differentiate: the algorithm's loss, or the mean of all maps."""
    if what != 'encoder':
        model.path = path
        return sum(model.loss(img, visible=visible).losses.values())
    maps = model(img) if path == 'dense' else [m.stored for m in encode_visible(model, img, visible, path)]
    return sum(m.float().mean() for m in maps)


class Saved:
    """Bytes of the distinct storages that autograd saves while it is active, those of the parameters left out."""

    def __init__(self, model: nn.Module) -> None:
        self.own = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self.seen: dict[int, tuple[int, Tensor]] = {}
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda t: t)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.own:  # the tensor is kept, so that no other one gets its address
            self.seen[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    def megabytes(self) -> float:
        """What was seen."""
        return sum(size for size, _ in self.seen.values()) / 1e6


def memory(forward: Callable[[], Tensor], model: nn.Module, device: str) -> float:
    """Megabytes of activations of one step."""
    if device == 'cuda':
        model.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        forward().backward()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    saved = Saved(model)
    with saved.hooks:
        forward()
    return saved.megabytes()


def seconds(forward: Callable[[], Tensor], model: nn.Module, device: str) -> float:
    """Forward and backward once."""
    model.zero_grad(set_to_none=True)
    if device == 'cuda':
        torch.cuda.synchronize()
    start = time.perf_counter()
    forward().backward()
    if device == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - start


def convolution_backward_flop(
    grad_shape: tuple,
    x_shape: tuple,
    weight_shape: tuple,
    _bias: object,
    _stride: object,
    _padding: object,
    _dilation: object,
    transposed: bool,
    _output_padding: object,
    _groups: int,
    needs: tuple[bool, ...],
    **_: object,
) -> int:
    """Each gradient costs what the forward pass costs; torch's own formula counts grouped convolutions as if they were not."""
    return (needs[0] + needs[1]) * conv_flop_count(x_shape, weight_shape, grad_shape, transposed=transposed)


def gflop(forward: Callable[[], Tensor]) -> float:
    """Floating-point operations of one step, in billions."""
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: convolution_backward_flop}
    )
    with counter:
        forward().backward()
    return round(counter.get_total_flops() / 1e9, 2)


def measure(what: str, name: str, args: argparse.Namespace) -> list[dict]:
    """All paths of one network in all precisions, in turns."""
    model = build(what, name, args.device)
    img = torch.randn(args.batch, 3, args.size, args.size, generator=torch.Generator().manual_seed(1)).to(args.device)
    img = img.contiguous(memory_format=torch.channels_last)
    visible = draw_visible(args.batch, args.size // 32, args.hidden).to(args.device)

    def forward(precision: str, path: str) -> Tensor:
        with torch.autocast(args.device, torch.bfloat16, enabled=precision == 'bf16'):
            return loss_of(what, model, img, visible, path)

    ways = {(precision, path): [] for precision in args.precision for path in PATHS[what]}
    for round_ in range(args.rounds + 1):
        for way, times in ways.items():
            taken = seconds(partial(forward, *way), model, args.device)
            if round_:  # the first one warms up
                times.append(taken)
    found = {
        way: dict(
            seconds=round(statistics.median(times), 4),
            times=[round(t, 4) for t in times],
            megabytes=round(memory(partial(forward, *way), model, args.device), 1),
            gflop=gflop(partial(forward, *way)),
        )
        for way, times in ways.items()
    }
    return [
        dict(
            what=what,
            network=name,
            precision=precision,
            **{path: found[precision, path] for path in PATHS[what]},
            **ratios(found, precision, float(visible.float().mean())),
        )
        for precision in args.precision
    ]


def ratios(found: dict[tuple[str, str], dict], precision: str, share: float) -> dict:
    """Speed-up and memory of the visible path against each other way, and how much of the possible speed-up that is."""
    visible = found[precision, 'visible']
    result: dict[str, float] = {'visible_share': round(share, 4), 'limit': round(1 / share, 3)}
    for (of, path), other in found.items():
        if path == 'visible':
            continue
        faster = other['seconds'] / visible['seconds']
        if of != precision:
            result[f'speedup_vs_{path}_in_{of}'] = round(faster, 3)
            continue
        result |= {
            f'speedup_vs_{path}': round(faster, 3),
            f'share_of_limit_vs_{path}': round(faster * share, 3),
            f'memory_vs_{path}': round(visible['megabytes'] / other['megabytes'], 3),
            f'flops_vs_{path}': round(visible['gflop'] / other['gflop'], 3),
        }
    return dict(sorted(result.items()))


def main() -> None:
    """Measure, print one line per network and precision, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--what', nargs='+', default=['encoder'], choices=PATHS)
    parser.add_argument(
        '--networks', nargs='+', help='of the encoders, or configs below configs/selfsup; default: the usual ones'
    )
    parser.add_argument('--precision', nargs='+', default=['fp32'], choices=('fp32', 'bf16'))
    parser.add_argument('--device', default='cpu', choices=('cpu', 'cuda'))
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--hidden', type=float, default=0.6, help='share of the blocks that is hidden')
    parser.add_argument('--rounds', type=int, default=5, help='timed rounds; the median counts')
    parser.add_argument('--threads', type=int, default=2, help='of torch on CPU')
    parser.add_argument('--out', help='JSON file to write')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results = []
    for what in args.what:
        for name in args.networks or (ENCODERS if what == 'encoder' else CONFIGS[what]):
            results += (found := measure(what, name, args))
            print(*map(json.dumps, found), sep='\n', flush=True)
    if args.out:
        machine = torch.cuda.get_device_name() if args.device == 'cuda' else f'CPU, {args.threads} threads'
        report = dict(machine=machine, torch=torch.__version__, arguments=vars(args), results=results)
        Path(args.out).write_text(json.dumps(report, indent=1) + '\n')


if __name__ == '__main__':
    main()
