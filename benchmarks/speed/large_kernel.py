"""Time and memory of `large_kernel_conv2d` for every shape of SLaK-T (width 1.3), and of a whole SLaK-T training step.

One process measures all implementations of a shape in turns, so that what else the machine does hits them alike; medians are compared.
Maps are channels-last, as SLaK's layer norms and linear layers leave them. `F.conv2d` is measured in both layouts, and the faster one
counts. `memory` is the growth of the resident set during forward and backward, over a process that has done a smaller step before.

    python benchmarks/speed/large_kernel.py --out benchmarks/results/speed/large_kernel.json     # about 10 minutes
    python benchmarks/speed/large_kernel.py --px 14 7 --batch 64 --merge --out ...               # adds cases to a file
    python benchmarks/speed/large_kernel.py --what plot --out ...                                # from what the file holds
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from selfsup.models.large_kernel.conv import LargeKernelConv2d, large_kernel_conv2d
from selfsup.registry import BACKBONES

STAGES = {56: (124, 51), 28: (249, 49), 14: (499, 47), 7: (998, 13)}  # map side: channels, long side of the kernel
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
WAYS = ('conv2d contiguous', 'conv2d channels-last', 'trimmed', 'correlation', 'band')
MODES = ('forward', 'forward+backward')


def kernels(px: int) -> tuple[tuple[int, int], ...]:
    """(height, width) of the three branches of a stage."""
    long = STAGES[px][1]
    return (long, 5), (5, long), (5, 5)


def step_of(
    way: str, mode: str, px: int, kernel: tuple[int, int], batch: int, dtype: str, device: str
) -> Callable[[], None]:
    """One pass of one implementation over random maps."""
    channels, generator = STAGES[px][0], torch.Generator().manual_seed(0)
    layout = torch.contiguous_format if way.endswith('contiguous') else torch.channels_last
    train = mode != 'forward'

    def draw(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator).to(device, DTYPES[dtype]).contiguous(memory_format=layout)

    x, grad = draw(batch, channels, px, px).requires_grad_(train), draw(batch, channels, px, px)
    weight = draw(channels, 1, *kernel).contiguous().requires_grad_(train)
    padding = kernel[0] // 2, kernel[1] // 2

    def step() -> None:
        if way.startswith('conv2d'):
            out = functional.conv2d(x, weight, padding=padding, groups=channels)
        else:
            out = large_kernel_conv2d(x, weight, None, way)
        if train:
            torch.autograd.grad(out, (x, weight), grad)

    return step


def in_turns(steps: dict[str, Callable[[], None]], device: str, rounds: int, limit: float) -> dict[str, list[float]]:
    """Milliseconds of each step, round after round; at least one round and at most `limit` seconds for all of them."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()  # the first one compiles kernels
    begin = time.perf_counter()
    for done in range(rounds):
        for name, step in steps.items():
            if device == 'cuda':
                torch.cuda.synchronize()
            start = time.perf_counter()
            step()
            if device == 'cuda':
                torch.cuda.synchronize()
            times[name].append((time.perf_counter() - start) * 1e3)
        if (time.perf_counter() - begin) * (done + 2) / (done + 1) > limit:
            break
    return times


def measure_conv(args: argparse.Namespace) -> list[dict]:
    """Every implementation for every chosen shape."""
    results = []
    for px, batch, dtype, mode in (
        (p, b, d, m) for p in args.px for b in args.batch for d in args.dtype for m in args.mode
    ):
        for kernel in kernels(px):
            steps = {way: step_of(way, mode, px, kernel, batch, dtype, args.device) for way in args.ways}
            times = in_turns(steps, args.device, args.rounds, args.seconds)
            milliseconds = {way: round(statistics.median(of), 3) for way, of in times.items()}
            results.append(
                dict(
                    what='conv',
                    px=px,
                    kernel=list(kernel),
                    channels=STAGES[px][0],
                    batch=batch,
                    dtype=dtype,
                    mode=mode,
                    device=args.device,
                    rounds=len(times[args.ways[0]]),
                    ms=milliseconds,
                    **speedup(milliseconds),
                )
            )
            print(json.dumps(results[-1]), flush=True)
    return results


def speedup(milliseconds: dict[str, float]) -> dict:
    """The fastest implementation, and how much faster it is than the faster layout of `F.conv2d`."""
    native = min((ms for way, ms in milliseconds.items() if way.startswith('conv2d')), default=None)
    own = {way: ms for way, ms in milliseconds.items() if not way.startswith('conv2d')}
    if native is None or not own:
        return {}
    best = min(own, key=own.get)
    return dict(best=best, speedup=round(native / own[best], 2))


def _resident(field: str) -> float:
    """Megabytes of VmRSS or VmHWM of this process (Linux)."""
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def peak(way: str, px: int, kernel: tuple[int, int], batch: int, dtype: str, threads: int) -> float:
    """Megabytes that forward and backward add at their peak to a process that holds map, weight and the output's gradient."""
    torch.set_num_threads(threads)
    step_of(way, MODES[1], px, kernel, 1, dtype, 'cpu')()
    step = step_of(way, MODES[1], px, kernel, batch, dtype, 'cpu')
    gc.collect()
    Path('/proc/self/clear_refs').write_text('5')  # VmHWM starts again
    before = _resident('VmRSS')
    step()
    return _resident('VmHWM') - before


def measure_memory(args: argparse.Namespace) -> list[dict]:
    """Peak memory of each implementation on a CPU, each in a process of its own."""
    results = []
    for px, batch, dtype in ((p, b, d) for p in args.px for b in args.batch for d in args.dtype):
        for kernel in kernels(px):
            megabytes = {}
            for way in args.ways:
                with ProcessPoolExecutor(1, get_context('spawn')) as pool:
                    megabytes[way] = round(pool.submit(peak, way, px, kernel, batch, dtype, args.threads).result(), 1)
            results.append(
                dict(
                    what='memory',
                    px=px,
                    kernel=list(kernel),
                    batch=batch,
                    dtype=dtype,
                    device='cpu',
                    mode=MODES[1],
                    mb=megabytes,
                )
            )
            print(json.dumps(results[-1]), flush=True)
    return results


def measure_step(args: argparse.Namespace) -> list[dict]:
    """A training step of SLaK-T at 224 px, with the chosen implementations and with `F.conv2d`."""
    results = []
    for batch, dtype in ((b, d) for b in args.batch for d in args.dtype):
        torch.manual_seed(0)
        model = (
            BACKBONES.build(dict(type='SLaK', arch='tiny', width_factor=1.3, num_classes=1000)).train().to(args.device)
        )
        optimizer = torch.optim.AdamW(model.parameters(), 4e-3)
        img, label = torch.randn(batch, 3, 224, 224).to(args.device), torch.randint(1000, (batch,)).to(args.device)

        def step(
            implementation: str | None, model=model, optimizer=optimizer, img=img, label=label, dtype=dtype
        ) -> None:
            for module in model.modules():
                if isinstance(module, LargeKernelConv2d):
                    module.implementation = implementation
            optimizer.zero_grad()
            with torch.autocast(args.device, DTYPES[dtype], enabled=dtype != 'fp32'):
                loss = functional.cross_entropy(model.classify(img).float(), label)
            loss.backward()
            optimizer.step()

        times = in_turns(
            {'conv2d': lambda: step('native'), 'chosen': lambda: step(None)}, args.device, args.rounds, args.seconds
        )
        milliseconds = {way: round(statistics.median(of), 1) for way, of in times.items()}
        results.append(
            dict(
                what='step',
                batch=batch,
                dtype=dtype,
                device=args.device,
                mode=MODES[1],
                rounds=len(times['chosen']),
                ms=milliseconds,
                speedup=round(milliseconds['conv2d'] / milliseconds['chosen'], 2),
            )
        )
        print(json.dumps(results[-1]), flush=True)
    return results


def case(result: dict) -> tuple:
    """What was measured, to replace an older measurement of the same."""
    return tuple(str(result.get(key)) for key in ('what', 'device', 'dtype', 'mode', 'px', 'kernel', 'batch'))


def plot(results: list[dict], path: Path) -> None:
    """Bars: how many times faster than the faster layout of `F.conv2d` each implementation is, forward + backward in fp32."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    chosen = [r for r in results if r['what'] == 'conv' and r['dtype'] == 'fp32' and r['mode'] == MODES[1]]
    batches = sorted({r['batch'] for r in chosen})
    figure, axes = pyplot.subplots(len(batches), 1, figsize=(10, 2.8 * len(batches)), squeeze=False)
    for axis, batch in zip(axes[:, 0], batches, strict=True):
        of = [r for r in chosen if r['batch'] == batch]
        native = [min(r['ms'][way] for way in WAYS[:2] if way in r['ms']) for r in of]
        for i, way in enumerate(WAYS[2:]):
            axis.bar(
                [j + 0.27 * (i - 1) for j in range(len(of))],
                [n / r['ms'][way] if way in r['ms'] else 0 for n, r in zip(native, of, strict=True)],
                0.25,
                label=way,
            )
        axis.axhline(1, color='black', lw=0.8)
        axis.set_xticks(range(len(of)), [f'{r["kernel"][0]}x{r["kernel"][1]}\n{r["px"]} px' for r in of], fontsize=8)
        axis.set_ylabel('times F.conv2d')
        axis.set_title(f'batch {batch}, fp32, forward + backward', fontsize=9)
    axes[0, 0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--what', nargs='+', default=['conv'], choices=('conv', 'memory', 'step', 'plot'))
    parser.add_argument('--px', nargs='+', type=int, default=list(STAGES), choices=STAGES, help='sides of the maps')
    parser.add_argument('--batch', nargs='+', type=int, default=[1, 8])
    parser.add_argument('--dtype', nargs='+', default=['fp32'], choices=DTYPES)
    parser.add_argument('--mode', nargs='+', default=list(MODES), choices=MODES)
    parser.add_argument('--ways', nargs='+', default=list(WAYS), choices=WAYS)
    parser.add_argument('--device', default='cpu', choices=('cpu', 'cuda'))
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--seconds', type=float, default=6, help='limit of a case; at least one round is measured')
    parser.add_argument('--threads', type=int, default=2, help='of torch on CPU')
    parser.add_argument('--out', help='JSON file to write; the plot goes beside it')
    parser.add_argument('--merge', action='store_true', help='keep the cases of the file that are not measured now')
    return parser.parse_args()


def main() -> None:
    """Measure what is asked for, print one line per case, write the results."""
    args = parse()
    torch.set_num_threads(args.threads)
    measures = {'conv': measure_conv, 'memory': measure_memory, 'step': measure_step}
    new = [result for what in args.what if what in measures for result in measures[what](args)]
    old = []
    if args.out and Path(args.out).exists() and (args.merge or not new):
        old = json.loads(Path(args.out).read_text())['results']
    results = [*{case(result): result for result in (*old, *new)}.values()]
    if args.out and new:
        machine = torch.cuda.get_device_name() if args.device == 'cuda' else f'CPU, {args.threads} threads'
        lines = ',\n'.join('  ' + json.dumps(result) for result in results)
        Path(args.out).write_text(
            f'{{"machine": {json.dumps(machine)}, "torch": "{torch.__version__}", "results": [\n{lines}\n]}}\n'
        )
    if 'plot' in args.what:
        plot(results, Path(args.out).with_suffix('.png'))


if __name__ == '__main__':
    main()
