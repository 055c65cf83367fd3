"""Weighted kNN accuracy of frozen features: python tools/knn.py CFG --pretrained W.pth --k 10,20,200; see selfsup/protocols/knn.py."""

from selfsup import cli, protocols

main = protocols.command('knn')

if __name__ == '__main__':
    cli.run(main)
