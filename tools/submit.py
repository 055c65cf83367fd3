"""Train on Slurm, requeued by itself: python tools/submit.py CFG --nodes 8 --ngpus 8; see selfsup/protocols/jobs/submission.py."""

from selfsup import cli, protocols

main = protocols.command('jobs.submission')

if __name__ == '__main__':
    cli.run(main)
