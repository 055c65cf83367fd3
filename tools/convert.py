"""Bring a network into the form of another library: python tools/convert.py IN OUT --to timm|torchvision|detectron2|safetensors|onnx

IN is any checkpoint of ours, OpenSelfSup, MoCo, SparK, ConvNeXt, ConvNeXt V2, SLaK, solo-learn, lightly, VISSL, MMPretrain, timm or
torchvision. Which of them it is, and which network it holds, is told from the weights. The classifier of a trained network comes along.
--check runs images through both and fails where they differ.
"""

from __future__ import annotations

import argparse
import functools

from selfsup import cli
from selfsup.cli import image_size


def parse_args() -> argparse.Namespace:
    """The arguments of `selfsup.weights.convert.convert`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, flag = parser.add_argument, functools.partial(parser.add_argument, action='store_true')
    add('source', metavar='IN', help='checkpoint')
    add('path', metavar='OUT', help='file to write (.pth, .pkl for detectron2, .safetensors, .onnx)')
    add('--to', required=True, metavar='FORM', help='timm, torchvision, detectron2, safetensors or onnx')
    add('--config', metavar='CFG', help='config of the run, for a network that is no published one')
    flag('--check', help='read the result back in the target library and compare what it computes')
    add(
        '--tolerance', type=float, default=1e-4, help='of the check: largest difference, relative to the largest output'
    )
    sides = 'side in pixels, or height x width, of the images of the check, and of those an ONNX graph takes (224)'
    add('--size', type=image_size, metavar='SIDE|HxW', help=sides)
    flag('--maps', help='ONNX: give out the maps of all stages too')
    flag('--merge', help='SLaK: fold norms and small kernels into the large kernels')
    flag('--ema', dest='average', help="take the moving average of the weights (EMAHook, or the authors' model_ema)")
    add(
        '--no-classifier', dest='classifier', action='store_false', help='leave the classifier of a trained network out'
    )
    flag('--force', help='replace OUT if it exists')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from selfsup.weights.convert import convert

    backbone = None
    if args.config:
        from selfsup import config

        backbone = config.compile_config(config.load(args.config))['model']['backbone']
    done = convert(**{**vars(args), 'config': backbone})
    network = done.network
    lines = [f'read     {args.source}: {network.layout}']
    for reason in dict.fromkeys(network.unused.values()):
        names = [name for name, why in network.unused.items() if why == reason]
        shown = ', '.join(names[:3] + ['...'] * (len(names) > 3))
        lines.append(f'left out {len(names)} tensors ({reason}): {shown}')
    lines.append(f'network  {network.title}, {"given by " + args.config if args.config else "told from its weights"}')
    if network.classifier:
        classes = network.classifier.classes
        lines.append(f'with     its classifier of {classes} classes (--no-classifier leaves it out)')
    lines += [f'note     {note}' for note in network.notes]
    lines.append(f'wrote    {done.path}: {done.target.tensors} tensors for {args.to}')
    lines += [f'check    {difference}' for difference in done.differences]
    if args.check:
        images = f'2 images of {done.size[0]} x {done.size[1]}'
        lines.append(f'check    passed: {images}, tolerance {args.tolerance:.0e} relative')
    lines.append('load it with:' if done.usage else 'load it into a network of these sizes')
    print(*lines, *(f'    {line}' for line in done.usage), sep='\n')


if __name__ == '__main__':
    cli.run(main)
