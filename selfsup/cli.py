"""What every command-line tool shares: errors in one line, options in one spelling. Imports nothing heavy."""

from __future__ import annotations

import argparse
import contextlib
import errno
import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import CTRL_C, Interrupted, SelfSupError, UsageError, explain_worker, words_of_warning

STATUS_FILE = (
    'SELFSUP_STATUS_FILE'  # set by tools/torchrun.py: where a process that stopped in order leaves its exit status
)
BROKEN_PIPE = 141  # and after SIGPIPE
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)  # said by a file that is open, so without its name
OUT_OF_MEMORY = (
    'There is not enough memory for this: lower data.imgs_per_gpu (optimizer_config.update_interval keeps the batch of a '
    'step), the image size or the workers.'
)


def run(main: Callable[[], object]) -> None:
    """Call a tool's `main` and leave the process: 0 when it returns, 1 after a `SelfSupError` (2 after a `UsageError`), 130 after Ctrl-C.

    A training that was asked to stop leaves with the status of its `Interrupted`, see `final_status`.

    A `SelfSupError` is the user's to mend, so its message is printed alone, to stderr. So is the loss of another process,
    which gives its own reason, and what the machine refuses: a file, space, memory. Any other exception is a fault of ours and keeps
    its traceback.
    """
    try:
        with _plain_warnings():
            main()
        sys.stdout.flush()
        if _several():
            gc.collect()  # a DDP model holds the threads of the process group: see engine.processes.launch.shut_down
    except Interrupted as stop:
        # Whatever comes now, the status shall say that the state is saved.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        if not stop.told:
            sys.stdout.flush()
            print(stop, file=sys.stderr, flush=True)
        sys.exit(final_status(stop.status))
    except SelfSupError as error:
        _leave(f'error: {error}', 2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        _leave('interrupted', CTRL_C)
    except BrokenPipeError:  # who read the output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at its end
        sys.exit(BROKEN_PIPE)
    except OSError as error:
        if error.filename is None and error.errno not in FULL:
            raise
        _leave(f'error: {error.filename or "a file"}: {error.strerror}. Nothing more was written.', 1)
    except MemoryError:
        _leave(f'error: {OUT_OF_MEMORY}', 1)
    except RuntimeError as error:
        explained = explain_worker(str(error))  # torch's signal handler raises it wherever the process is
        if explained is not None:
            _leave(f'error: {explained}', 1)
        if _no_memory(error):
            _leave(f'error: {str(error).splitlines()[0]} {OUT_OF_MEMORY}', 1)
        if not _peer_lost(error):
            raise
        _leave('another process ended, so this one cannot go on', 1)


def final_status(status: int) -> int:
    """The exit status of a training that was asked to stop.

    torchrun starts processes again that end with anything but 0: there the status is left in a file for tools/torchrun.py, which ends
    with it when all its processes have ended.
    """
    path = os.environ.get(STATUS_FILE)
    if not path:
        return status
    try:
        Path(path).write_text(str(status))
    except OSError:
        return status
    return 0


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings of ours in one line, without a place in the code."""
    before, warnings.formatwarning = warnings.formatwarning, words_of_warning
    try:
        yield
    finally:
        warnings.formatwarning = before


def _no_memory(error: RuntimeError) -> bool:
    """True for torch's words on a GPU (`torch.OutOfMemoryError` is a RuntimeError) and on a CPU."""
    return 'out of memory' in str(error) or 'not enough memory' in str(error) or "can't allocate memory" in str(error)


def _several() -> bool:
    return int(os.environ.get('WORLD_SIZE', '1') or 1) > 1


def _peer_lost(error: RuntimeError) -> bool:
    """True for what gloo says when another rank has left; that rank tells why."""
    return _several() and any(text in str(error) for text in ('Connection closed by peer', 'Connection reset by peer'))


def _leave(message: str, status: int) -> None:
    """Print to stderr, with the rank where there are several processes, and exit."""
    where = f'[rank {os.environ.get("RANK", "?")}] ' if _several() else ''
    sys.stdout.flush()
    print(f'{where}{message}', file=sys.stderr, flush=True)
    sys.exit(status)


def seed(text: str) -> int:
    """`type=` of a --seed: what torch and numpy both take."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f'{text!r} is no whole number from 0 to 2**32 - 1')
    return int(text)


def image_size(text: str) -> int | tuple[int, int]:
    """`224`, or `224x160` for height and width."""
    try:
        sides = tuple(map(int, text.lower().split('x')))
    except ValueError:
        sides = ()
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise argparse.ArgumentTypeError(
            f'{text}: give the side of the images in pixels, or height x width, such as 224x160'
        )
    return sides if len(sides) == 2 else sides[0]


def picture(text: str) -> str:
    """`type=` of an --out that is a picture."""
    if not text.lower().endswith('.png'):
        raise argparse.ArgumentTypeError(f'--out {text} must end in .png')
    return text


def positive(text: str) -> int:
    """`type=` of a number of things."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} must be 1 or more')
    return int(text)


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add `--cfg-options a.b=c ...`; `args.cfg_options` is the list of those words, for `config.load`."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help='override settings of the config, for example: --cfg-options optimizer.lr=0.1 total_epochs=2',
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add `--data ADDRESS`: other images to train on, for `config.load`."""
    parser.add_argument(
        '--data',
        metavar='ADDRESS',
        help="images to train on in place of the config's, for example: --data folder:/photos, "
        '--data wds:/shards/{000..127}.tar, --data "list:list.txt?root=/photos"',
    )


def add_channels(parser: argparse.ArgumentParser) -> None:
    """Add `--channels 3 2 1`, the channels of a picture."""
    parser.add_argument(
        '--channels',
        type=int,
        nargs='+',
        metavar='N',
        help='numbers, from 0, of the channels to show as red, green and blue, or of one to show in grey (default: the first three)',
    )


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Add `--launcher` and `--port`, the two things `engine.processes.launch.init_distributed` is told."""
    parser.add_argument(
        '--launcher', choices=('none', 'pytorch', 'slurm'), default='none', help='set by the dist_ and srun_ scripts'
    )
    parser.add_argument(
        '--port', type=int, default=None, help='port of rank 0 under slurm (default: derived from the job)'
    )
