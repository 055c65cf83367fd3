"""A pretrained ResNet for detectron2: python benchmarks/detection/convert_pretrain_to_detectron2.py IN.pth OUT.pkl

IN: any file with a ResNet that tools/convert.py reads: a checkpoint of a run, a backbone alone, an official MoCo or SparK file.
OUT: for MODEL.WEIGHTS of benchmarks/detection/run.sh. A ResNet-50 gives 318 tensors. Any key that is missing or
unknown is an error: detectron2 itself would only log it and train on from random weights.
"""

from __future__ import annotations

import argparse

from selfsup import cli


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('input', help='checkpoint (.pth)')
    parser.add_argument('output', help='file to write (.pkl)')
    parser.add_argument('--force', action='store_true', help='replace the output if it exists')
    args = parser.parse_args()

    from selfsup.weights.backbone import find_backbone
    from selfsup.weights.families import in_our_names
    from selfsup.weights.families.resnet import to_detectron2
    from selfsup.weights.read import read_checkpoint
    from selfsup.weights.to.library import write_detectron2

    found = find_backbone(read_checkpoint(args.input), args.input)
    converted = to_detectron2(in_our_names(found.weights))
    path = write_detectron2(args.output, converted, args.force)
    print(f'{path}: {len(converted)} tensors from {args.input} ({found.layout})')


if __name__ == '__main__':
    cli.run(main)
