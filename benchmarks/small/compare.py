"""Every method at one budget on the 20,000 images of CIFAR-10: the same minutes of training, learning rates found by the same search.

For each method with a config `configs/selfsup/METHOD/*_cifar10_small*.py`, and for supervised training:

    pilot    a few iterations, from whose time follows how many fit into the budget, so that schedules end with it
    search   the learning rate of the config, a third of it and three times it, `--search-minutes` each, seed 0; the best kNN-20 is taken
    runs     `--minutes` on 2 cores for each of `--seeds`; kNN-20 and a linear probe of the LAST iteration

and the untrained networks. One JSON per run in benchmarks/results/compare; what is there is not done again, and a run that was killed
has left nothing and is. Ctrl-C and SIGTERM end what is running too.

`--jobs 2` runs two side by side, each on one core for twice the minutes.

    python benchmarks/small/compare.py --plan                  # what would run, and how long it takes
    python benchmarks/small/compare.py                         # all of it: hours
    python benchmarks/small/compare.py --only simclr byol --jobs 2
    python benchmarks/small/compare_table.py                   # then: the tables and bars of docs/benchmarks/small_comparison.md
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
SEARCH_SEED = 0


@dataclass(frozen=True)
class Work:
    """A result that is to be there: its file, and the minutes of training in it."""

    path: Path
    minutes: float

    @property
    def done(self) -> bool:
        return self.path.is_file()


def parse_args(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        '--only',
        nargs='+',
        metavar='METHOD',
        help='some methods, by the names that --plan shows, in this order (default: all)',
    )
    add('--seeds', nargs='+', type=int, default=[0, 1, 2])
    add('--minutes', type=float, default=5.0, help='of training on 2 cores, per run (default: 5)')
    add('--search-minutes', type=float, default=2.0, help='of training per learning rate of the search (default: 2)')
    add(
        '--search',
        choices=('first', 'only', 'skip'),
        default='first',
        help="first: search, then run (default); only: no runs; skip: the config's learning rate",
    )
    add('--jobs', type=int, choices=(1, 2), default=1, help='runs side by side, each with its share of the 2 cores')
    add(
        '--clock',
        choices=('wall', 'cpu'),
        default='wall',
        help='what the minutes are counted in; cpu: the processor seconds that 2 cores have in them, for a machine with other work',
    )
    add('--data', default='data/cifar10', help='folder with train/ and test/ (default: data/cifar10)')
    add('--out', type=Path, default=ROOT / 'benchmarks/results/compare', help='folder of the JSON files')
    add('--plan', action='store_true', help='say what would run, and end')
    args = parser.parse_args(words)
    if not all(0 < minutes < math.inf for minutes in (args.minutes, args.search_minutes)):
        parser.error('--minutes and --search-minutes must be numbers above 0')
    if min(args.seeds) < 0 or len(set(args.seeds)) < len(args.seeds):
        parser.error('--seeds must be different whole numbers >= 0')
    return args


def plan(methods: dict, args: argparse.Namespace) -> dict[str, list[Work]]:
    """Per method, and per untrained network, all results that the options ask for, in the order in which they are made."""
    from benchmarks.small.comparing import FACTORS

    asked: dict[str, list[Work]] = {}
    for name in methods:
        asked[name] = []
        if args.search != 'skip':
            asked[name] += [Work(search_file(args.out, name, factor), args.search_minutes) for factor in FACTORS]
        if args.search != 'only':
            asked[name] += [Work(run_file(args.out, name, seed), args.minutes) for seed in args.seeds]
    if args.search != 'only':
        for name in dict.fromkeys(method.untrained for method in methods.values()):
            asked[name] = [Work(run_file(args.out, name, seed), 0.0) for seed in args.seeds]
    return asked


def search_file(out: Path, name: str, factor: float) -> Path:
    return out / 'search' / f'{name}_x{factor:.2g}.json'


def run_file(out: Path, name: str, seed: int) -> Path:
    return out / 'runs' / f'{name}_seed{seed}.json'


def show_plan(methods: dict, asked: dict[str, list[Work]], jobs: int) -> None:
    """A line per method, and the hours that are left if a measurement takes 1.5 minutes on both cores."""
    left = 0.0
    for name, work in asked.items():
        waiting = [one for one in work if not one.done]
        minutes = sum(one.minutes + 1.5 for one in waiting)
        left += minutes
        missing = methods[name].missing if name in methods else []
        note = f'  not run: there is no {", ".join(missing)}' if missing else ''
        what = methods[name].config if name in methods else ''
        print(
            f'{name:24s} {len(work) - len(waiting):2d} of {len(work)} done, about {minutes:5.1f} minutes left  {what}{note}'
        )
    print(f'about {left / 60:.1f} hours on 2 cores, {jobs} at a time')


class Series:
    """Does what a plan asks for, method by method, `args.jobs` of them at a time.

    Attributes:
        failed: a line per method that did not get to its end.
        stopped_by: number of the signal that was heard, 0 for none.
    """

    def __init__(self, args: argparse.Namespace, methods: dict) -> None:
        from benchmarks.small.comparing import CORES
        from benchmarks.small.one_run import Budget, Place

        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < CORES:
            raise SystemExit(f'The budget is counted on {CORES} cores, and this process may use {len(cores)}.')
        self.args, self.methods, self.failed, self.stopped_by = args, methods, list[str](), 0
        self._budget = Budget
        each = CORES // args.jobs
        self._places: queue.Queue = queue.Queue()
        for job in range(args.jobs):
            self._places.put(Place(str(Path(args.data).resolve()), frozenset(cores[job * each : (job + 1) * each])))
        self._printing = threading.Lock()

    def run(self, names: Iterable[str]) -> None:
        """All that is missing of these methods and untrained networks. After a signal nothing is begun, and what runs is killed."""
        from selfsup.cluster.tree import kill_below

        with self._listening(), ThreadPoolExecutor(self.args.jobs) as pool:
            waiting = {pool.submit(self._guarded, name) for name in names}
            while waiting:
                done, waiting = wait(waiting, timeout=0.5)
                for one in done:
                    one.result()
                if self.stopped_by:
                    kill_below(os.getpid())

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        def hear(number: int, frame: object) -> None:
            self.stopped_by = number

        before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _guarded(self, name: str) -> None:
        from benchmarks.small.one_run import Failed

        if self.stopped_by:
            return
        place = self._places.get()
        os.sched_setaffinity(0, place.cores)  # of this thread: what it starts has the same
        try:
            (self._method if name in self.methods else self._untrained)(name, place)
        except (Failed, ValueError) as error:
            if not self.stopped_by:
                self.failed.append(f'{name}: {error}')
                self._say(f'{name} failed: {error}')
        finally:
            self._places.put(place)

    def _untrained(self, name: str, place) -> None:
        from benchmarks.small import one_run

        method = next(m for m in self.methods.values() if m.untrained == name)
        for seed in self.args.seeds:
            self._once(
                run_file(self.args.out, name, seed), lambda seed=seed: one_run.untrained(method, place, seed), None
            )

    def _method(self, name: str, place) -> None:
        from benchmarks.small import comparing, one_run

        method, args = self.methods[name], self.args
        if method.missing:
            self._say(f'{name}: not run, there is no {", ".join(method.missing)}')
            return
        short, long = (self._budget(minutes, args.jobs, args.clock) for minutes in (args.search_minutes, args.minutes))
        pilot_file = args.out / 'search' / f'{name}_pilot.json'
        pilot = self._once(pilot_file, lambda: one_run.pilot(method, place, short), short)
        factor, measured = 1.0, pilot['time']
        if args.search != 'skip':
            found = {}
            iterations = comparing.iterations_in(measured, short.seconds, args.clock)
            for one in comparing.FACTORS:
                found[one] = self._once(
                    search_file(args.out, name, one),
                    lambda one=one: one_run.searched(method, place, short, iterations, one, SEARCH_SEED),
                    short,
                )
            factor = comparing.best_factor({one: result['numbers']['knn_20'] for one, result in found.items()})
            measured = found[factor]['time']  # longer than the pilot, so it knows better
        if args.search == 'only':
            return
        iterations = comparing.iterations_in(measured, long.seconds, args.clock)
        for seed in args.seeds:
            self._once(
                run_file(args.out, name, seed),
                lambda seed=seed: one_run.finished(method, place, long, iterations, factor, seed),
                long,
            )

    def _once(self, path: Path, make: Callable[[], dict], budget) -> dict:
        """The result in `path`, made if it is not there."""
        from benchmarks.small.one_run import read_budgeted, write_json

        if path.is_file():
            return read_budgeted(path, budget)
        result = make()
        write_json(path, result)
        self._say(f'{path.stem}: {result.get("numbers") or result["time"]}')
        return result

    def _say(self, line: str) -> None:
        with self._printing:
            print(line, flush=True)


def main(words: list[str] | None = None) -> None:
    args = parse_args(words)
    from benchmarks.small.comparing import find_methods

    methods = find_methods()
    unknown = sorted(set(args.only or ()) - set(methods))
    if unknown:
        raise SystemExit(f'no small config for {", ".join(unknown)}; there are {", ".join(methods)}')
    chosen = {name: methods[name] for name in args.only or methods}
    asked = plan(chosen, args)
    if args.plan:
        show_plan(chosen, asked, args.jobs)
        return
    for split in ('train', 'test'):
        if not Path(args.data, split).is_dir():
            raise SystemExit(
                f'{args.data}/{split} is no folder: --data names one with train/ and test/, a folder per class'
            )
    series = Series(args, chosen)
    series.run(asked)
    if series.stopped_by:
        raise SystemExit(128 + series.stopped_by)
    if series.failed:
        raise SystemExit('\n'.join(['not finished:', *series.failed]))


if __name__ == '__main__':
    main()
