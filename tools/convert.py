"""Bring a network into the form of another library: python tools/convert.py IN OUT --to timm|torchvision|detectron2|safetensors|onnx

IN is any checkpoint of ours, OpenSelfSup, MoCo, SparK, ConvNeXt, ConvNeXt V2, SLaK, solo-learn, lightly, VISSL, MMPretrain, timm or
torchvision. Which of them it is, and which network it holds, is told from the weights. The classifier of a trained network comes along.
--check runs images through both and fails where they differ.
"""

from __future__ import annotations

import argparse

from selfsup import cli
from selfsup.cli import image_size


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('source', metavar='IN', help='checkpoint')
    add('target', metavar='OUT', help='file to write (.pth, .pkl for detectron2, .safetensors, .onnx)')
    add('--to', required=True, metavar='FORM', help='timm, torchvision, detectron2, safetensors or onnx')
    add('--config', metavar='CFG', help='config of the run, for a network that is no published one')
    add('--check', action='store_true', help='read the result back in the target library and compare what it computes')
    add(
        '--tolerance', type=float, default=1e-4, help='of the check: largest difference, relative to the largest output'
    )
    text = 'side in pixels, or height x width, of the images of the check, and of those an ONNX graph takes (224)'
    add('--size', type=image_size, metavar='SIDE|HxW', help=text)
    add('--maps', action='store_true', help='ONNX: give out the maps of all stages too')
    add('--merge', action='store_true', help='SLaK: fold norms and small kernels into the large kernels')
    add('--ema', action='store_true', help="take the moving average (EMAHook, or the authors' model_ema)")
    add('--no-classifier', action='store_true', help='leave the classifier of a trained network out')
    add('--force', action='store_true', help='replace OUT if it exists')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from selfsup.convert.conversion import convert

    backbone = None
    if args.config:
        from selfsup import config

        backbone = config.compile_config(config.load(args.config))['model']['backbone']
    done = convert(
        args.source,
        args.target,
        args.to,
        config=backbone,
        check=args.check,
        tolerance=args.tolerance,
        size=args.size,
        maps=args.maps,
        merge=args.merge,
        average=args.ema,
        classifier=not args.no_classifier,
        force=args.force,
    )
    network = done.network
    print(f'read     {args.source}: {network.layout}')
    for reason in dict.fromkeys(network.unused.values()):
        names = [name for name, why in network.unused.items() if why == reason]
        print(f'left out {len(names)} tensors ({reason}): {", ".join(names[:3])}{", ..." if len(names) > 3 else ""}')
    print(f'network  {network.title}, {"given by " + args.config if args.config else "told from its weights"}')
    if network.classifier:
        print(f'with     its classifier of {network.classifier.classes} classes (--no-classifier leaves it out)')
    for note in network.notes:
        print(f'note     {note}')
    print(f'wrote    {done.path}: {done.target.tensors} tensors for {args.to}')
    for difference in done.differences:
        print(f'check    {difference}')
    if args.check:
        print(f'check    passed: 2 images of {done.size[0]} x {done.size[1]}, tolerance {args.tolerance:.0e} relative')
    usage = ['load it with:', *(f'    {line}' for line in done.usage)]
    print('\n'.join(usage) if done.usage else 'load it into a network of these sizes')


if __name__ == '__main__':
    cli.run(main)
