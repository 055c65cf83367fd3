"""Write any images as tar shards: python tools/make_shards.py folder:/photos /data/shards; see selfsup/protocols/make_shards.py."""

from selfsup import cli, protocols

main = protocols.command('make_shards')

if __name__ == '__main__':
    cli.run(main)
