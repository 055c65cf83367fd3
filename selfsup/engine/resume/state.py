"""What makes a resumed run equal a straight one: randomness from counters, and a fingerprint of what must not change."""

from __future__ import annotations

import random
from collections.abc import Container, Sequence

import numpy as np
import torch

from .changes import ELASTIC, RELAXED, refuse

# what each entry of the fingerprint is called for the user, and what to do when it differs
_FINGERPRINT = {
    'seed': ('seed', 'pass --seed {old}'),
    'world_size': ('number of processes', 'start {old} processes'),
    'batch_size': ('batch size per process', 'set data.imgs_per_gpu={old}'),
    'iters_per_epoch': ('iterations per epoch', 'use the data set and drop_last of the first run'),
    'dataset_length': ('number of images', 'use the data set of the first run'),
    'sampler': ('sampler', 'set data.sampler={old}'),
    'update_interval': ('update_interval', 'set optimizer_config.update_interval={old}'),
    'optimizer': ('optimizer', "set optimizer.type='{old}'"),
    'pretrained': (
        'SHA-256 of the pretrained weights',
        'give --pretrained the file of the first start, or leave it out',
    ),
    'teachers': (
        'the teachers, with the SHA-256 of their weights,',
        'give model.teachers the weights of the first start',
    ),
}


def seed_iteration(seed: int, rank: int, iteration: int) -> None:
    """Seed python, numpy and torch (all devices) for one training iteration of one rank.

    Dropout, drop path, shuffles and masks become a function of (run seed, rank, iteration): there is no generator
    state to save, and whatever a hook or an evaluation drew in between cannot change training.
    """
    words = np.random.SeedSequence([seed, rank, iteration]).generate_state(4)
    torch.manual_seed(int(words[0]) << 32 | int(words[1]))
    random.seed(int(words[2]))
    np.random.seed(int(words[3]))


def check_fingerprint(
    saved: dict, current: dict, path: str, others: Sequence[str] = (), relaxed: Container[str] = ()
) -> None:
    """Refuse to continue a run whose data order or step size would differ from the run that wrote the checkpoint.

    Args:
        saved: the fingerprint in the checkpoint's meta.
        current: that of the run about to start.
        path: of the checkpoint, for the message.
        others: further problems, to be named in the same message.
        relaxed: entries that may differ.

    Raises:
        CheckpointError: naming every difference and what to do.
    """
    different = [key for key in _FINGERPRINT if key in saved and saved[key] != current.get(key) and key not in relaxed]
    problems = []
    for key in different:
        label, remedy = _FINGERPRINT[key]
        problems.append(f'{label} was {saved[key]} and is {current.get(key)} ({remedy.format(old=saved[key])})')
    if {*different} & {*RELAXED} and saved.get('dataset_length') == current.get('dataset_length'):
        problems[-1] += f', or give {ELASTIC} to go on with other processes or batches, not bit-equal'
    if problems:
        refuse(path, [*problems, *others])
