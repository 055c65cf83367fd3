"""Bring a checkpoint of OpenSelfSup into our form: python tools/upgrade_models.py OLD.pth --save-path NEW.pth

Whole models, backbones and flat dicts of weights are understood. The result holds `state_dict`, `author` and `meta`. (Files need not
be upgraded to be loaded: `load_from` and `--pretrained` read old ones too.)
"""

from __future__ import annotations

import argparse

from selfsup import cli


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='old file')
    parser.add_argument('--save-path', '--save_path', required=True, help='file to write (.pth)')
    parser.add_argument(
        '--drop-head', action='store_true', default=None, help='leave the head out (done for flat dicts in any case)'
    )
    parser.add_argument('--force', action='store_true', help='replace the output if it exists')
    args = parser.parse_args()

    from selfsup.weights.upgrade import upgrade_file

    path, number = upgrade_file(
        args.checkpoint, args.save_path, keep_head=None if args.drop_head is None else False, force=args.force
    )
    print(f'{path}: {number} tensors')


if __name__ == '__main__':
    cli.run(main)
