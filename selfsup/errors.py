"""Errors that a user can cause and mend.

Every message says what happened, what was given and what to do. Programming mistakes of our own stay `assert`s, so that
a `SelfSupError` always means: change the input.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

SHARED_MEMORY = '/dev/shm'
SHARED_MEMORY_REMEDY = (
    'Give more shared memory (docker run --shm-size=8g, or --ipc=host; Kubernetes: an emptyDir of medium Memory at '
    '/dev/shm), or lower data.prefetch_factor, data.workers_per_gpu or data.imgs_per_gpu; data.workers_per_gpu=0 '
    'needs none'
)
# What torch says when the shared memory is used up.
RAN_OUT = ('shared memory(shm)', 'out of shared memory', 'bus error', '</torch_', 'unable to mmap')
DESCRIPTORS = ('ancdata', 'too many open files')
# Exit statuses of a training that was asked to stop.
TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: its state is saved, start it again
CTRL_C = 130  # 128 + SIGINT, the shell's own


class SelfSupError(Exception):
    """Base of all errors that a change of input mends."""


class ConfigError(SelfSupError):
    """A config file, an option or a combination of them cannot be used."""


class UnknownNameError(ConfigError, KeyError):
    """A `type=` name that no registry knows. (A `KeyError` too: libraries that probe a registry expect one.)"""

    def __str__(self) -> str:  # KeyError would print the repr of the message, with escaped quotes
        return str(self.args[0]) if self.args else ''


class UsageError(SelfSupError):
    """A command cannot be done as it was typed; tools end with status 2, as for an argument that they do not know."""


class ShapeError(SelfSupError):
    """A tensor, a batch or a queue has a size that the method cannot use."""


class DataError(SelfSupError):
    """A file, a list or a folder of images cannot be read as asked."""


class CheckpointError(SelfSupError):
    """A checkpoint is missing, damaged, unsafe or belongs to another model or run."""


class TrainingError(SelfSupError):
    """Training cannot go on: the loss is not finite, or the run cannot be continued as asked."""


class Interrupted(SelfSupError):
    """A training ended because it was asked to, after its state was saved: no mistake, and it can go on.

    Args:
        message: what asked, what was saved, how to go on.
        status: the exit status of the process: `TRY_AGAIN`, or `CTRL_C`.
        told: somebody else tells the message: another process of the run.
    """

    def __init__(self, message: str, status: int, told: bool = False) -> None:
        super().__init__(message)
        self.status, self.told = status, told


class SelfSupWarning(UserWarning):
    """A setting was replaced or ignored; shown once per place, through `warnings`."""


def listed(values: Sequence, most: int = 5) -> str:
    """The first `most` of some values, and how many there are in all where they are more; for messages."""
    rest = f', ... ({len(values)} in all)' if len(values) > most else ''
    return ', '.join(map(str, values[:most])) + rest


_pythons_words = warnings.formatwarning


def words_of_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning as it is shown, in the place of `warnings.formatwarning`.

    One of ours is a line without a place in the code: who reads it mends a setting, and the caller of a constructor is a registry.
    """
    if issubclass(category, SelfSupWarning):
        return f'{category.__name__}: {message}\n'
    return _pythons_words(message, category, filename, lineno, line)


def did_you_mean(name: str, known: Iterable[str], limit: int = 3) -> str:
    """Text to append to an error about an unknown `name`.

    Args:
        name: what the user wrote.
        known: every name that would have been accepted.
        limit: how many near names to offer at most.

    Returns:
        `" Did you mean 'a' or 'b'? Known: a, b, c."`, without the question when nothing is near.
    """
    import difflib  # here: no tool needs it for --help

    known = sorted({str(k) for k in known})
    lower = {k.lower(): k for k in known}
    close = [lower[k] for k in difflib.get_close_matches(str(name).lower(), list(lower), n=limit, cutoff=0.6)]
    question = f' Did you mean {" or ".join(repr(c) for c in close)}?' if close else ''
    shown = known if len(known) <= 40 else [*known[:40], f'... ({len(known)} in all)']
    return f'{question} Known: {", ".join(shown) if shown else "nothing"}.'


def explain_worker(message: str) -> DataError | None:
    """The error of a loader worker that died or ran out of what the machine gives, in one line; None for any other message.

    Args:
        message: of the `RuntimeError` or `OSError` that torch raises, in the loader or, from its signal handler, anywhere.
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()] or ['']
    first, last = lines[0], lines[-1]  # an error raised within a worker has its traceback between them
    text = last.lower()
    if any(word in text for word in DESCRIPTORS):
        return DataError(
            f'The loader workers hold too many open files ({last}). Raise the limit (ulimit -n 65536), or lower '
            'data.workers_per_gpu or data.prefetch_factor.'
        )
    if any(word in text for word in RAN_OUT):
        return DataError(
            f'The loader workers ran out of shared memory, {SHARED_MEMORY} ({last}). {SHARED_MEMORY_REMEDY}.'
        )
    if not first.startswith('DataLoader worker (pid'):
        return None
    return DataError(
        f'A loader worker died ({first}). Most often memory ran out, and the system killed it: lower workers_per_gpu, or set '
        'it to 0 to see the cause.'
    )
