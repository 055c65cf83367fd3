"""Pretrain MoCo v2 on scikit-learn's digits and compare with the untrained network (make demo); see selfsup/protocols/demo.py."""

from selfsup import cli, protocols

main = protocols.command('demo')

if __name__ == '__main__':
    cli.run(main)
