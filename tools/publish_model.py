"""Make a checkpoint fit to share: python tools/publish_model.py FILE [--out-dir DIR]

Drops the optimizer state and everything else that only training needs and names the file after its own content:
NAME-{first 8 hex digits of its SHA-256}.pth
"""

from __future__ import annotations

import argparse

from selfsup import cli


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', help='checkpoint, or extracted backbone; it is not changed')
    parser.add_argument('--out-dir', help='folder of the result (default: that of the file)')
    args = parser.parse_args()

    from selfsup.weights.publish import publish

    path, dropped = publish(args.file, args.out_dir)
    print(path)
    if dropped:
        print(f'left out: {", ".join(dropped)}')


if __name__ == '__main__':
    cli.run(main)
