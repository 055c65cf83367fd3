"""An evaluation counts each readable image once, and gives one number for any number of processes."""

from __future__ import annotations

import logging
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from selfsup import distributed as dist
from selfsup.config.run_config import RunConfig
from selfsup.datasets.loaders import build_loader
from selfsup.datasets.loaders.agreement import check_ranks_agree
from selfsup.datasets.robust import unreadable
from selfsup.engine.loop import TrainLoop
from selfsup.errors import DataError
from selfsup.evaluation.features import collect, evaluation_loader, extract_features, left_out
from selfsup.hooks.evaluation_hook import with_left_out
from selfsup.hooks.knn_hook import KNNHook
from selfsup.hooks.validate_hook import ValidateHook
from tests.distributed.helpers import run_ranks

CPU = torch.device('cpu')
TENSOR = [dict(type='ToTensor')]
# With two processes each meets one of the broken files; 203 is odd, so one image comes twice.
IMAGES, BROKEN = 203, (7, 150)
NOISE = [dict(type='RandomResizedCrop', size=6, scale=(0.2, 0.5)), *TENSOR]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Images of two classes by their brightness; the labels of some are wrong, those beside the broken ones too."""
    root = tmp_path_factory.mktemp('counting')
    rng = np.random.default_rng(0)
    lines = []
    for i in range(IMAGES):
        label = i % 2
        pixels = rng.integers(0, 100, (8, 8, 3)) + 150 * label
        path = root / f'{i:03d}.png'
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        wrong = i % 40 == 0 or any(abs(i - b) == 1 for b in BROKEN)
        lines.append(f'{path.name} {1 - label if wrong else label}')
        if i in BROKEN:
            path.write_bytes(path.read_bytes()[:40])
    (root / 'list.txt').write_text('\n'.join(lines) + '\n')
    return root


def data(folder, pipeline=TENSOR):
    return dict(
        type='ClassificationDataset',
        data_source=dict(type='ImageList', root=str(folder), list_file=str(folder / 'list.txt')),
        pipeline=pipeline,
    )


class Brightness(nn.Module):
    """Two classes: dark and bright."""

    def forward(self, batch, mode):
        assert mode == 'test'
        bright = batch['img'].mean((1, 2, 3))
        return {'head0': torch.stack([1 - bright, bright], 1)}

    def features(self, img):
        return img.flatten(1)


def measure(folder):
    """What this rank's hooks say, the features of kNN, and rows of a random pipeline."""
    model = Brightness()
    runner = SimpleNamespace(
        model=model, device=CPU, seed=0, config=RunConfig(model={}), may_give_up_evaluation=lambda: None
    )
    found = {
        'validate': ValidateHook(data(folder), imgs_per_gpu=16, workers_per_gpu=1, eval_param=dict(topk=(1,))).evaluate(
            runner
        )
    }
    found['knn'] = KNNHook(data(folder), data(folder), k=[1, 5], imgs_per_gpu=16).evaluate(runner)
    loader = evaluation_loader({'dataset': data(folder, NOISE)}, batch_size=16, num_workers=0, device=CPU)
    found['draws'], found['labels'] = extract_features(model, loader)
    found['left_out'] = left_out(loader.dataset), unreadable(loader.dataset).tolist()
    return found


def right_answer(folder):
    """Top-1 by hand: the class of an image is that of its brightness."""
    lines = [line.split() for line in (folder / 'list.txt').read_text().splitlines()]
    hits = [int(label) == i % 2 for i, (_, label) in enumerate(lines) if i not in BROKEN]
    return 100 * np.mean(hits), len(hits)


def test_one_process(folder, caplog):
    with caplog.at_level('WARNING', 'selfsup'):
        found = measure(folder)
    accuracy, counted = right_answer(folder)
    assert counted == IMAGES - len(BROKEN)
    assert found['validate'] == {'head0_top1': pytest.approx(accuracy, abs=1e-4), 'left_out': 2}
    assert found['knn']['left_out'] == 4 and found['knn']['knn_1'] == 100  # each image is its own neighbour
    assert len(found['draws']) == len(found['labels']) == counted
    assert (
        f'2 of {IMAGES} images cannot be read: the evaluation leaves them out and counts the other {counted}.'
        in caplog.messages
    )


def compare(folder):
    """On each rank: the numbers, and the error of an evaluation whose processes together meet too many broken files."""
    found = measure(folder)
    for index in (20, 100):  # now each rank meets two of them, not more than 1 %
        if dist.is_main():
            (folder / f'{index:03d}.png').write_bytes(b'broken too')
    dist.barrier()
    loader = evaluation_loader({'dataset': data(folder)}, batch_size=16, num_workers=0, device=CPU)
    try:
        collect(lambda batch: {'x': batch['gt_label']}, loader)
        found['error'] = None
    except DataError as error:
        found['error'] = str(error)
    return found


@pytest.mark.dist
def test_two_processes_give_the_numbers_of_one(folder, tmp_path):
    alone = measure(folder)
    copy = shutil.copytree(folder, tmp_path / 'copy')
    for found in run_ranks(compare, 2, copy):
        assert re.fullmatch(
            r'4 of 203 images cannot be read, more than 1%\. .*/007\.png, .*/020\.png, .*/100\.png, .*/150\.png',
            found['error'],
        )
        # Also the image that fills up the ranks: its first draw counts.
        assert torch.equal(found['draws'], alone['draws'])
        assert torch.equal(found['labels'], alone['labels'])
        assert {k: found[k] for k in ('validate', 'knn', 'left_out')} == {
            k: alone[k] for k in ('validate', 'knn', 'left_out')
        }


class Listed:
    """Ten images whose order or number depends on the process; `names`: whether it can say which they are."""

    def __init__(self, numbers, names=True, labels=None, classes=None):
        self.numbers, self.labels, self.classes = numbers, labels, classes
        if names:
            self.describe = lambda index: f'{self.numbers[index]}.jpg'

    def __len__(self):
        return len(self.numbers)

    def get_sample(self, index):
        return Image.new('RGB', (4, 4), (self.numbers[index], 0, 0))


class Random(Listed):
    def get_sample(self, index):
        return np.random.rand(3)


def disagree():
    """Each rank's answer to data sets that differ between the ranks, and to some that do not."""
    rank = dist.rank()
    straight, turned = list(range(10)), list(range(9, -1, -1))
    mine = turned if rank else straight
    labels = np.arange(10) % (2 + rank)
    cases = [
        Listed(mine),
        Listed(straight[: 10 - rank]),
        Listed([n + rank for n in straight]),
        Listed(straight, labels=labels),
        Listed(straight, classes=['cat', 'dog' if rank else 'cow']),
        Listed(mine, names=False),
        Listed(straight, names=False),
        Random(straight, names=False),
    ]
    found = []
    for source in cases:
        try:
            check_ranks_agree(Wrapped(source))
            found.append('')
        except DataError as error:
            found.append(str(error))
    try:
        build_loader(dict(batch_size=2, dataset=Wrapped(Listed(mine))), seed=0, device=CPU, rank=rank, world_size=2)
        found.append('')
    except DataError as error:
        found.append(str(error))
    return found


class Wrapped:
    """A data set over a source."""

    def __init__(self, source):
        self.data_source, self.labels = source, source.labels

    def __len__(self):
        return len(self.data_source)


@pytest.mark.dist
def test_ranks_that_do_not_see_the_same_data_are_refused():
    first, second = run_ranks(disagree, 2)
    assert first == second  # one error, whichever process is looked at
    patterns = [
        'same images in different orders',
        r'different numbers of images (10 and 9)',
        'other images',
        'their labels differ',
        'their classes differ (cat, cow and cat, dog)',
        'sample by sample they hold other images',
        '',
        '',
        'same images in different orders',
    ]
    for text, pattern in zip(first, patterns, strict=True):
        assert pattern in text and bool(pattern) == bool(text)
        assert not text or text.startswith('Processes 0 and 1 of 2 do not see the same Wrapped: ')


def test_one_process_compares_nothing():
    check_ranks_agree(None)


def test_left_out_is_named_only_where_something_is():
    assert with_left_out({'a': 1.0}, 0) == {'a': 1.0} and with_left_out({'a': 1.0}, 3) == {'a': 1.0, 'left_out': 3}


def known_after_an_epoch(folder):
    """What each rank knows after it trained on its half, and what it logged."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger('selfsup').addHandler(handler)
    loader = build_loader(
        dict(batch_size=16, dataset=data(folder), sampler=dict(shuffle=False)),
        seed=0,
        device=CPU,
        rank=dist.rank(),
        world_size=2,
    )
    loop = TrainLoop.__new__(TrainLoop)
    loop.__dict__.update(_iter=0, _epoch=0, _max_iters=100, stop_training=False, iters_per_epoch=len(loader))
    loop.__dict__.update(window_closed=True, closed_by=[])
    model = SimpleNamespace(train=lambda: None)
    loop._runner = SimpleNamespace(call_hook=lambda name: None, model=model, hooks=[], safe_point=lambda: None)
    loop._dataloader = loop.dataloader = loader
    loop._run_iter = lambda index, batch: None
    loop._run_epoch()
    return unreadable(loader.dataset).tolist(), sorted(line.split(' (')[0][-7:] for line in lines)


@pytest.mark.dist
def test_training_names_the_broken_files_of_all_processes_once(folder):
    (known, logged), (other, silent) = run_ranks(known_after_an_epoch, 2, folder)
    assert known == other == list(BROKEN)
    assert logged == ['007.png', '150.png'] and silent == []
