"""Features of a data set as NumPy files: python tools/extract.py CFG --pretrained W.pth; see selfsup/protocols/extraction.py."""

from selfsup import cli, protocols

main = protocols.command('extraction')

if __name__ == '__main__':
    cli.run(main)
