"""Average precision of a trained detector on data.val: python benchmarks/test_det.py CFG CKPT; see selfsup/protocols/detector.py."""

from selfsup import cli, protocols

main = protocols.command('detector')

if __name__ == '__main__':
    cli.run(main)
