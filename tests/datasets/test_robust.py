"""Broken files: skipped, named, counted; too many stop."""

import errno
import logging

import pytest
import torch
from mmengine.logging.logger import FilterDuplicateWarning

from selfsup.datasets import ClassificationDataset, ConcatDataset, ExtractDataset, RepeatDataset
from selfsup.datasets.loaders import build_loader
from selfsup.datasets.robust import RobustReader, allow_unreadable, mark_unreadable, share_unreadable, unreadable
from selfsup.errors import ConfigError, DataError
from selfsup.evaluation.features import evaluation_loader

from .conftest import TENSOR, truncate

CPU = torch.device('cpu')


def loader_of(root, workers, **settings):
    dataset = dict(type='ClassificationDataset', data_source=dict(type='ImageFolder', root=str(root)), pipeline=TENSOR)
    return build_loader(
        dict(batch_size=10, num_workers=workers, dataset=dataset, sampler=dict(shuffle=False), **settings),
        seed=0,
        device=CPU,
    )


@pytest.mark.parametrize('workers', [0, 2])
def test_a_truncated_file_is_replaced_by_its_neighbour(folder, workers, capfd, caplog):
    bad = folder / 'cat' / '049.jpg'
    truncate(bad)
    loader = loader_of(folder, workers)
    with caplog.at_level(logging.WARNING, 'selfsup'):
        batches = list(loader)
    images = torch.cat([b['img'] for b in batches])
    labels = torch.cat([b['gt_label'] for b in batches])
    assert len(images) == 100
    assert torch.equal(images[49], images[50]) and not torch.equal(images[48], images[49])
    assert labels[49] == 1  # the label comes with the image: 050.jpg is a dog
    assert loader.dataset.reader.bad_indices().tolist() == [49]  # known in this process, whoever met it
    if workers == 0:  # a worker writes to its own copy of the handlers
        assert [r.getMessage() for r in caplog.records if str(bad) in r.getMessage()]
        list(loader)
        assert sum(str(bad) in r.getMessage() for r in caplog.records) == 1  # once, not once per epoch
    loader.close()


def test_evaluation_leaves_unreadable_files_out(folder):
    truncate(folder / 'cat' / '000.jpg')
    loader = loader_of(folder, 0)
    labels = torch.cat([b['gt_label'] for b in loader])
    scores = torch.nn.functional.one_hot(torch.as_tensor(loader.dataset.data_source.labels), 2).float()
    scores[0] = scores[99]  # wrong, where nothing could be read
    assert len(labels) == 100
    assert loader.dataset.evaluate(scores, 'head0', topk=(1,)) == {'head0_top1': 100.0}


def test_more_than_one_percent_stops_with_the_list(folder):
    loader = loader_of(folder, 0)
    truncate(folder / 'cat' / '003.jpg')
    (folder / 'dog' / '091.jpg').unlink()
    with pytest.raises(
        DataError, match=r'^2 of 100 images cannot be read, more than 1%.*: .*cat/003.jpg, .*dog/091.jpg$'
    ):
        list(loader)


def test_workers_count_together_and_raise_one_clean_error(folder):
    """Each of two workers meets one bad file of 100; only together they have met more than 1 %."""
    loader = loader_of(folder, 2)
    for path in (folder / 'cat' / '005.jpg', folder / 'cat' / '015.jpg'):  # batches 0 and 1: one per worker
        path.unlink()
    with pytest.raises(
        DataError,
        match=r'^2 of 100 images cannot be read, more than 1%; the last failed with FileNotFoundError.*'
        r'Repair, fetch again or take out of the list: .*005.jpg, .*015.jpg$',
    ):
        list(loader)
    loader.close()


class Source:
    """Samples, some of which raise."""

    def __init__(self, failing, error, length=100):
        self.failing, self.error, self.length = failing, error, length
        self.reads = 0

    def __len__(self):
        return self.length

    def get_sample(self, index):
        self.reads += 1
        if index in self.failing:
            raise self.error
        return index


def test_the_share_of_unreadable_files_is_a_setting(folder):
    bad = [folder / 'cat' / '003.jpg', *(folder / 'dog' / f'{i:03d}.jpg' for i in (60, 71, 82, 99))]
    for path in bad:
        truncate(path)
    loader = loader_of(folder, 2, max_unreadable=0.05)
    assert sum(len(batch['img']) for batch in loader) == 100
    assert unreadable(loader.dataset).tolist() == [3, 60, 71, 82, 99]
    loader.close()
    with pytest.raises(DataError, match=r'^5 of 100 .* more than 4%.* data\.max_unreadable=0\.04\. '):
        list(loader_of(folder, 2, max_unreadable=0.04))
    with pytest.raises(ConfigError, match='max_unreadable'):
        loader_of(folder, 0, max_unreadable=1.0)


def test_evaluation_loaders_take_the_limit_over(folder):
    section = dict(
        dataset=dict(type='ExtractDataset', data_source=dict(type='ImageFolder', root=str(folder)), pipeline=TENSOR)
    )
    loader = evaluation_loader({**section, 'max_unreadable': 0.2}, batch_size=4, num_workers=0, device=CPU)
    joined = RepeatDataset(ConcatDataset([loader.dataset, ExtractDataset(loader.dataset.data_source, TENSOR)]), 2)
    allow_unreadable(joined, 0.1)
    assert loader.dataset.reader.limit == joined.dataset.datasets[1].reader.limit == 0.1


def test_neighbours_wrap_around():
    reader = RobustReader(Source({99}, SyntaxError('broken PNG')))
    assert reader.read(99) == (0, 0)
    assert reader.read(3) == (3, 3)


def test_the_message_names_at_most_a_hundred_files(caplog):
    reader = RobustReader(Source(range(120), ValueError('bad'), length=120))
    with (
        caplog.at_level(logging.WARNING, 'selfsup'),
        pytest.raises(DataError, match=r'^120 of 120.*sample 99, \.\.\. \(20 more\)$'),
    ):
        for index in range(120):
            reader.read(index)
    assert len(caplog.messages) <= 2  # a source that is broken as a whole does not fill the log


def test_a_small_source_is_looked_through_before_it_is_refused():
    """With fewer than 100 images the first broken one is more than 1 %: all are named at once, not one per start."""
    reader = RobustReader(Source({3, 17, 39}, FileNotFoundError('gone'), length=40))
    with pytest.raises(DataError, match=r'^3 of 40 images cannot be read.*: sample 3, sample 17, sample 39$'):
        reader.read(17)
    large = Source({5, 6, 7, *range(900, 930)}, ValueError('bad'), length=1200)
    reader = RobustReader(large)
    reader._bad[900:912] = 1
    with pytest.raises(DataError, match=r'^13 of 1200'):  # what was met: reading a large set to its end may take a day
        reader.read(5)
    assert large.reads == 1


def test_every_broken_file_is_named_once_behind_a_filter_of_repeated_messages(tmp_path):
    """mmengine's handlers let a warning pass once per template of its text."""
    log = tmp_path / 'log.txt'
    handler, logger = logging.FileHandler(log), logging.getLogger('selfsup')
    handler.addFilter(FilterDuplicateWarning('selfsup'))
    logger.addHandler(handler)
    try:
        reader = RobustReader(Source({4, 100, 250}, OSError('truncated'), length=400))
        for _ in range(2):
            for index in range(400):
                reader.read(index)
    finally:
        logger.removeHandler(handler)
        handler.close()
    lines = log.read_text().splitlines()
    assert [line.split(' (')[0] for line in lines] == [f'skipped unreadable image sample {i}' for i in (4, 100, 250)]


def test_readers_of_data_sets_made_of_others(folder):
    truncate(folder / 'cat' / '020.jpg')
    part = {
        'type': 'ClassificationDataset',
        'data_source': {'type': 'ImageFolder', 'root': str(folder)},
        'pipeline': TENSOR,
    }
    joined = ConcatDataset([part, part])
    twice = RepeatDataset(part, times=2)
    for dataset in (joined, twice):
        assert unreadable(dataset).tolist() == []
        dataset[20]
    assert unreadable(joined).tolist() == [20] and unreadable(twice).tolist() == [20, 120]
    mark_unreadable(joined, [120])
    assert unreadable(joined).tolist() == [20, 120] and share_unreadable(joined).tolist() == [20, 120]
    with pytest.raises(
        DataError, match=r'^2 of 100 .*more than 1%\. The limit is .* Repair.*cat/020.jpg, .*dog/060.jpg$'
    ):
        mark_unreadable(joined, [60])
    assert len(unreadable(range(5))) == 0


def test_a_joined_set_weights_its_parts_by_what_can_be_read(folder):
    truncate(folder / 'cat' / '020.jpg')
    part = {
        'type': 'ClassificationDataset',
        'data_source': {'type': 'ImageFolder', 'root': str(folder)},
        'pipeline': TENSOR,
    }
    dataset = ConcatDataset([part, part])
    dataset[20]
    right = torch.nn.functional.one_hot(torch.as_tensor(dataset.labels), 2).float()
    right[:100] = right[:100].flip(1)  # the first set, of 99 readable images, is all wrong
    assert dataset.evaluate(right, 'head0', topk=(1,))['head0_top1'] == pytest.approx(100 * 100 / 199)


def test_faults_of_the_machine_or_the_code_are_not_blamed_on_files():
    for error in (OSError(errno.EMFILE, 'Too many open files'), AttributeError('a bug')):
        reader = RobustReader(Source({1}, error))
        with pytest.raises(type(error)):
            reader.read(1)
        assert len(reader.bad_indices()) == 0


def test_datasets_read_through_it(folder):
    truncate(folder / 'cat' / '000.jpg')
    source = dict(type='ImageFolder', root=str(folder))
    for kind in (ClassificationDataset, ExtractDataset):
        dataset = kind(source, TENSOR)
        assert torch.equal(dataset[0]['img'], dataset[1]['img'])


def test_odd_file_names_make_one_line_of_valid_text(tmp_path, caplog):
    class Odd(Source):
        def describe(self, index):
            return 'a\n\udcff.jpg'

    reader = RobustReader(Odd(set(range(100)), ValueError('x')))
    with caplog.at_level(logging.WARNING, 'selfsup'), pytest.raises(DataError, match=r'a\\n\\udcff\.jpg'):
        reader.read(1)
    assert '\n' not in caplog.messages[0] and caplog.messages[0].encode('utf-8')
