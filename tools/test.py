"""Accuracy of a trained classifier on data.val: python tools/test.py CFG CKPT; see selfsup/protocols/classifier.py."""

from selfsup import cli, protocols

main = protocols.command('classifier')

if __name__ == '__main__':
    cli.run(main)
