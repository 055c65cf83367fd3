"""Write the result of a finished training run, PROTOCOL.json in its work dir: accuracies of each head, last and best epoch.

    python benchmarks/collect_training.py WORK_DIR --protocol linear --config CFG --weights W.pth

The scripts benchmarks/dist_train_*.sh call it. Best epochs are chosen on the validation set, as published numbers are; the last
epoch is the number without such a choice.
"""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

from selfsup import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path)
    parser.add_argument('--protocol', required=True, help='linear, semi, finetune, ...: name of the file')
    parser.add_argument('--config', required=True, help='config of the run')
    parser.add_argument('--weights', default='random', help="what the run started from, or 'random'")
    parser.add_argument('--seconds', type=float, help='that the run took; left out of the result where it was resumed')
    parser.add_argument('--force', action='store_true', help='replace an existing result')
    return parser.parse_args()


def options_of(command: str) -> list[str]:
    """The words after --cfg-options in a command line."""
    parser = argparse.ArgumentParser(add_help=False)
    cli.add_cfg_options(parser)
    return parser.parse_known_args(shlex.split(command))[0].cfg_options


def main() -> None:
    args = parse_args()
    from selfsup.evaluation.results.record import check_free, write_result
    from selfsup.evaluation.results.training_log import images_left_out, last_and_best, logged_accuracies
    from selfsup.optim.trained import check_counts

    path = check_free(args.work_dir / f'{args.protocol}.json', args.force)
    numbers, epochs = last_and_best(logged_accuracies(args.work_dir))
    start = max(args.work_dir.glob('*/environment.json'))
    environment, compiled = (json.loads(path.read_text()) for path in (start, start.with_name('compiled.json')))
    parameters = start.with_name('parameters.json')  # runs of earlier versions have none
    counts = json.loads(parameters.read_text()) if parameters.exists() else None
    check_counts(args.protocol, counts or {})
    write_result(
        path,
        protocol=args.protocol,
        numbers=numbers,
        config=args.config,
        weights=args.weights,
        seed=int(environment['seed']),
        device=environment['device'],
        seconds=None if compiled.get('resume_from') else args.seconds,
        force=args.force,
        merged=compiled,
        settings={
            'epochs': epochs,
            'world_size': int(environment['world_size']),
            'cfg_options': options_of(environment['command']),
            'parameters': counts,
            'left_out': images_left_out(args.work_dir),
        },
    )
    for name, value in numbers.items():
        print(f'{name}: {value:.2f} (epoch {epochs[name]})')
    print(f'result: {path}')


if __name__ == '__main__':
    cli.run(main)
