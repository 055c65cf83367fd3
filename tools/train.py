"""Train what a config describes: python tools/train.py CFG; see selfsup/protocols/training.py."""

from selfsup import cli, protocols

main = protocols.command('training')

if __name__ == '__main__':
    cli.run(main)
