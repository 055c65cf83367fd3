"""Bring a network into the form of another library: python tools/convert.py IN OUT --to timm|torchvision|detectron2|safetensors|onnx

IN is any checkpoint of ours, OpenSelfSup, MoCo, SparK, ConvNeXt, ConvNeXt V2, SLaK, solo-learn, lightly, VISSL, MMPretrain, timm or
torchvision. Which of them it is, and which network it holds, is told from the weights. The classifier of a trained network comes along.
--check runs images through both and fails where they differ.
"""

from __future__ import annotations

import argparse

from selfsup import cli


def image_size(text: str) -> int | tuple[int, int]:
    """`224`, or `224x160` for height and width."""
    try:
        sides = tuple(map(int, text.lower().split('x')))
    except ValueError:
        sides = ()
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise argparse.ArgumentTypeError(
            f'{text}: give the side of the images in pixels, or height x width, such as 224x160'
        )
    return sides if len(sides) == 2 else sides[0]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', metavar='IN', help='checkpoint')
    parser.add_argument('target', metavar='OUT', help='file to write (.pth, .pkl for detectron2, .safetensors, .onnx)')
    parser.add_argument(
        '--to', required=True, metavar='FORM', help='timm, torchvision, detectron2, safetensors or onnx'
    )
    parser.add_argument('--config', metavar='CFG', help='config of the run, for a network that is no published one')
    parser.add_argument(
        '--check', action='store_true', help='read the result back in the target library and compare what it computes'
    )
    parser.add_argument(
        '--tolerance', type=float, default=1e-4, help='of the check: largest difference, relative to the largest output'
    )
    parser.add_argument(
        '--size',
        type=image_size,
        metavar='SIDE|HxW',
        help='side in pixels, or height x width, of the images of the check, and of those an ONNX graph takes (224)',
    )
    parser.add_argument('--maps', action='store_true', help='ONNX: give out the maps of all stages too')
    parser.add_argument(
        '--merge', action='store_true', help='SLaK: fold norms and small kernels into the large kernels'
    )
    parser.add_argument(
        '--ema', action='store_true', help="take the moving average of the weights (EMAHook, or the authors' model_ema)"
    )
    parser.add_argument('--no-classifier', action='store_true', help='leave the classifier of a trained network out')
    parser.add_argument('--force', action='store_true', help='replace OUT if it exists')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from selfsup.weights.convert import convert

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
    print(
        '\n'.join(['load it with:', *(f'    {line}' for line in done.usage)])
        if done.usage
        else 'load it into a network of these sizes'
    )


if __name__ == '__main__':
    cli.run(main)
