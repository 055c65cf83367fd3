"""Linear classification on cached features: tools/linear_cached.py CFG --pretrained W.pth; see selfsup/protocols/linear_cached.py."""

from selfsup import cli, protocols

main = protocols.command('linear_cached')

if __name__ == '__main__':
    cli.run(main)
