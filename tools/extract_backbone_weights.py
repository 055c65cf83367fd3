"""Take the backbone out of a checkpoint: python tools/extract_backbone_weights.py CKPT OUT.pth

OUT.pth holds `state_dict` (weights without prefix), `author` and `meta`; use it as `--pretrained` or in other libraries.
"""

from __future__ import annotations

import argparse

from selfsup import cli


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='checkpoint of a run')
    parser.add_argument('output', help='file to write (.pth)')
    parser.add_argument('--force', action='store_true', help='replace the output if it exists')
    parser.add_argument(
        '--naming',
        choices=('own', 'official', 'timm'),
        default='own',
        help="names of the weights: as in the run, a ConvNeXt's official ones, or timm's",
    )
    parser.add_argument(
        '--ema', action='store_true', help="take the moving average of the weights (EMAHook, or the authors' model_ema)"
    )
    parser.add_argument(
        '--momentum',
        action='store_true',
        help='take the backbone of the momentum network (BYOL, MoCo, CNN-JEPA, ...) instead of the trained one',
    )
    args = parser.parse_args()

    from selfsup.weights.extract import extract_backbone

    path, number = extract_backbone(args.checkpoint, args.output, args.force, args.naming, args.ema, args.momentum)
    print(f'{path}: {number} tensors')


if __name__ == '__main__':
    cli.run(main)
