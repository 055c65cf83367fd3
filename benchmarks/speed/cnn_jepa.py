"""How much faster CNN-JEPA's online encoder is on visible blocks than on masked maps, by the share of the blocks that is visible.

`encoder` is forward and backward of the backbone, `step` those of the whole method, whose momentum network sees whole images. Masks are
drawn as in training: 'multi-block' ones leave another number of blocks visible in each image. In each round both paths get the same new
masks, one right after the other, so that what else the machine does hits them alike; medians over the rounds are given. `limit` is the
speed-up that would be reached if hiding cost nothing: one over the visible share. `difference` says how far the two paths are from each
other: the largest difference of loss and gradients in float64, by the largest number of each tensor (but at least a
millionth of the largest of all), on two images.

    python benchmarks/speed/cnn_jepa.py --out benchmarks/results/speed/cnn_jepa.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed.masked_pretrain import gflop, memory, seconds
from selfsup.models.algorithms.masked.cnn_jepa import CNNJEPA
from selfsup.models.layers.masking import BlockMasking, TargetMasking
from selfsup.models.visible import encode_visible
from selfsup.registry import MODELS

BACKBONES = {
    'convnext_tiny': (dict(type='ConvNeXt', arch='tiny', out_indices=(4,)), 'ln'),
    'resnet50': (dict(type='ResNet', depth=50, out_indices=(4,)), 'bn'),
}
MASKS = {'multi-block': 1.0, 'random': 0.0}  # how many of the batches get rectangles
PATHS = ('visible', 'masked')


def build(network: str) -> CNNJEPA:
    """The method of the shipped configs, in training mode and channels-last."""
    backbone, norm = BACKBONES[network]
    torch.manual_seed(0)
    predictor = dict(type='CNNJEPAPredictor', norm=norm)
    model = MODELS.build(dict(type='CNNJEPA', backbone=dict(backbone), predictor=predictor))
    return model.train().to(memory_format=torch.channels_last)


def loss_of(what: str, model: CNNJEPA, img: Tensor, masks: tuple[Tensor, Tensor], path: str) -> Tensor:
    """Something to differentiate: the method's loss, or the mean of the backbone's last map."""
    if what == 'step':
        model.path = path
        return model.loss(img, *masks).total
    return encode_visible(model.backbone, img, masks[0], path)[-1].stored.float().mean()


def difference(model: nn.Module, img: Tensor, masks: tuple[Tensor, Tensor]) -> float:
    """Of the two paths, in float64: the largest difference of the loss and of any gradient, see the module."""
    start = {name: value.clone() for name, value in model.state_dict().items()}
    found = []
    for path in PATHS:
        model.load_state_dict(start)
        twin = model.double()
        twin.zero_grad(set_to_none=True)
        twin.path = path
        loss = twin.loss(img.double(), *masks).total
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in twin.parameters() if p.grad is not None)])
    floor = 1e-6 * max(b.abs().max() for b in found[1])  # of a bias before a batch norm, say, whose gradient is 0
    worst = max(((a - b).abs().max() / b.abs().max().clamp(min=floor)).item() for a, b in zip(*found, strict=True))
    model.float().load_state_dict(start)
    model.zero_grad(set_to_none=True)
    return worst


def measure(network: str, way: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Both paths of one network with one kind of masks, of the encoder and of the whole step."""
    model = build(network)
    masking = TargetMasking(BlockMasking(0.6, 'round', 32), multi_block=MASKS[way])
    img = torch.randn(args.batch, 3, args.size, args.size, generator=torch.Generator().manual_seed(1))
    img = img.contiguous(memory_format=torch.channels_last)
    torch.manual_seed(2)
    draws = [masking.draw(img) for _ in range(args.rounds + 1)]
    apart = difference(model, img[:2], tuple(grid[:2] for grid in draws[0]))
    results = []
    for what in args.what:
        times: dict[str, list[float]] = {path: [] for path in PATHS}
        for number, masks in enumerate(draws):
            order = PATHS if number % 2 else PATHS[::-1]
            taken = {path: seconds(partial(loss_of, what, model, img, masks, path), model, 'cpu') for path in order}
            if number:  # the first round warms up
                for path, value in taken.items():
                    times[path].append(value)
        results.append(summary(times, draws, args) | dict(what=what, network=network, masks=way, difference=apart))
        for path in PATHS:
            forward = partial(loss_of, what, model, img, draws[0], path)
            results[-1][path] |= dict(megabytes=round(memory(forward, model, 'cpu'), 1), gflop=gflop(forward))
    return results


def summary(times: dict[str, list[float]], draws: list[tuple[Tensor, Tensor]], args: argparse.Namespace) -> dict:
    """Medians; the ratios are those of each round, so that masks of different shares do not mix."""
    shares = [float(visible.float().mean()) for visible, _ in draws[1:]]
    faster = [slow / fast for slow, fast in zip(times['masked'], times['visible'], strict=True)]
    share = statistics.fmean(shares)
    return dict(
        visible_share=round(share, 4),
        limit=round(1 / share, 3),
        speedup=round(statistics.median(faster), 3),
        share_of_limit=round(statistics.median(f * s for f, s in zip(faster, shares, strict=True)), 3),
        **{
            path: dict(seconds=round(statistics.median(taken), 4), times=[round(t, 4) for t in taken])
            for path, taken in times.items()
        },
    )


def main() -> None:
    """Measure, print one line per network and kind of masks, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--what', nargs='+', default=['encoder', 'step'], choices=('encoder', 'step'))
    parser.add_argument('--networks', nargs='+', default=list(BACKBONES), choices=BACKBONES)
    parser.add_argument('--masks', nargs='+', default=list(MASKS), choices=MASKS)
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--rounds', type=int, default=9, help='timed rounds; the median counts')
    parser.add_argument('--threads', type=int, default=2, help='of torch')
    parser.add_argument('--out', help='JSON file to write')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results = []
    for network in args.networks:
        for way in args.masks:
            results += (found := measure(network, way, args))
            for one in found:
                names = (
                    'what',
                    'network',
                    'masks',
                    'visible_share',
                    'limit',
                    'speedup',
                    'share_of_limit',
                    'difference',
                )
                print(json.dumps({name: one[name] for name in names}), flush=True)
    if args.out:
        report = dict(
            machine=f'CPU, {args.threads} threads', torch=torch.__version__, arguments=vars(args), results=results
        )
        Path(args.out).write_text(json.dumps(report, indent=1) + '\n')


if __name__ == '__main__':
    main()
