"""VOC2007 linear SVMs on extracted features: python benchmarks/svm.py WORK_DIR; see selfsup/protocols/svm_scores.py."""

from selfsup import cli, protocols

main = protocols.command('svm_scores')

if __name__ == '__main__':
    cli.run(main)
