"""Train on a Slurm cluster, requeued by itself: python tools/submit.py CFG --nodes 8 --ngpus 8; see selfsup/protocols/submission.py."""

from selfsup import cli, protocols

main = protocols.command('submission')

if __name__ == '__main__':
    cli.run(main)
