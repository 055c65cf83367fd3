"""Parquet and CSV: which column, which labels, which files; what people get wrong."""

import logging

import numpy as np
import pytest

from selfsup.datasets import ContrastiveDataset
from selfsup.datasets.data_sources import CSV, Parquet
from selfsup.datasets.digest import data_digest
from selfsup.errors import DataError, SelfSupWarning
from tests.datasets.conftest import TENSOR

from . import written
from .written import COUNT, images, labels, pixels

VIEW = [dict(type='RandomResizedCrop', size=8), *TENSOR]


@pytest.fixture
def pa():
    return pytest.importorskip('pyarrow')


def write(path, columns, **options):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path, **options)
    return path


# ---- Parquet ----


def test_rows_of_several_files_are_numbered_in_their_order(tmp_path, pa):
    written.parquet(tmp_path, group=5)
    source = Parquet(tmp_path)
    assert len(source) == COUNT and source.classes == ['class 0', 'class 1', 'class 2']
    np.testing.assert_array_equal(source.labels, labels())
    assert source.describe(25) == f'{tmp_path}/part1.parquet: row 1'
    assert source.locality.tolist() == [0, 5, 10, 15, 20, 24, 29, 34, 39, 44]
    for index in (47, 0, 23, 24):
        np.testing.assert_array_equal(np.asarray(source.get_sample(index)[0]), pixels(images()[index]))


def test_as_many_row_groups_stay_in_memory_as_were_asked_for(tmp_path, pa):
    written.parquet(tmp_path)
    source = Parquet(tmp_path, cached_groups=2)
    for index in range(0, COUNT, 6):
        source.get_sample(index)
    assert list(source._cache) == [6, 7]
    assert source._cache[7].nbytes < 2 * sum(len(data) for data in images()[42:])


def test_large_row_groups_are_warned_about(tmp_path, pa, monkeypatch):
    written.parquet(tmp_path)
    monkeypatch.setattr('selfsup.datasets.data_sources.stores.parquet.MUCH_MEMORY', 1000)
    with pytest.warns(SelfSupWarning, match=r'Write smaller row groups'):
        Parquet(tmp_path)


def test_a_column_of_paths_needs_no_blocks(tmp_path, pa):
    written.folder(tmp_path)
    names = [f'folder/{number:03d}.png' for number in range(COUNT)]
    source = Parquet(write(tmp_path / 'a.parquet', {'path': names, 'label': labels()}, row_group_size=5), root=tmp_path)
    assert source.locality is None and source.classes is None and source.num_classes == 3
    np.testing.assert_array_equal(np.asarray(source.get_sample(9)[0]), pixels(images()[9]))
    assert source.describe(9) == f'{tmp_path}/folder/009.png' and data_digest(source)['sizes'] is not None


@pytest.mark.parametrize(
    ('columns', 'arguments', 'message'),
    [
        ({'photo': images(), 'y': labels()}, dict(image='image'), "no column image='image'; it has photo, y"),
        ({'photo': images(), 'y': labels()}, dict(label='lable'), "no column label='lable'; it has photo, y"),
        ({'a': images(), 'b': images()}, {}, r'cannot be told; name it as image=. It has a \(binary\), b \(binary\)'),
        ({'image': images(), 'y': [None, *labels()[1:]]}, dict(label='y'), 'row 0 is empty'),
        ({'image': images(), 'y': [-1.5, *labels()[1:]]}, dict(label='y'), r'row 0 \(-1.5\) is no whole number'),
        ({'image': images()[:0]}, {}, 'which column|has no rows'),
    ],
)
def test_what_a_table_lacks_is_said(tmp_path, pa, columns, arguments, message):
    with pytest.raises(DataError, match=message):
        Parquet(write(tmp_path / 'a.parquet', columns), **arguments)


def test_files_that_are_none_are_named(tmp_path, pa):
    with pytest.raises(DataError, match=r"files='.*x.parquet' does not exist"):
        Parquet(tmp_path / 'x.parquet')
    with pytest.raises(DataError, match=r'is a folder without files ending in .parquet'):
        Parquet(tmp_path)
    (tmp_path / 'x.parquet').write_bytes(b'no table')
    with pytest.raises(DataError, match=r"x.parquet' cannot be read as Parquet"):
        Parquet(tmp_path)


def test_labels_that_cannot_be_used_do_not_stop_a_run_that_needs_none(tmp_path, pa):
    source = Parquet(write(tmp_path / 'a.parquet', {'image': images(), 'label': [[1, 2]] * COUNT}))
    assert source.labels is None and 'labels are whole numbers' in source.no_labels


def test_broken_and_empty_cells_are_named_and_skipped(tmp_path, pa, caplog):
    cells = images(200)
    cells[7] = None
    cells[11] = cells[11][:40]
    write(tmp_path / 'a.parquet', {'image': cells}, row_group_size=20)
    dataset = ContrastiveDataset(Parquet(tmp_path), VIEW)
    with caplog.at_level(logging.WARNING, 'selfsup'):
        assert dataset[7]['img'].shape == dataset[11]['img'].shape
    assert dataset.reader.bad_indices().tolist() == [7, 11]
    assert f'{tmp_path}/a.parquet: row 7 (ValueError: its cell is empty)' in caplog.text


def test_other_images_under_the_same_names_have_another_digest(tmp_path, pa):
    first = write(tmp_path / 'a' / 'x.parquet', {'image': images()}) if (tmp_path / 'a').mkdir() is None else None
    (tmp_path / 'b').mkdir()
    moved = write(tmp_path / 'b' / 'x.parquet', {'image': images()})
    assert data_digest(Parquet(first)) == data_digest(Parquet(moved))
    changed = write(moved, {'image': [*images(COUNT - 1), images(COUNT + 1)[-1]]})
    one, other = data_digest(Parquet(first)), data_digest(Parquet(changed))
    assert one['names'] == other['names'] and one['content'] != other['content']


# ---- CSV ----


@pytest.fixture
def folder(tmp_path):
    written.folder(tmp_path)
    return tmp_path


def table(folder, lines, encoding='utf-8', end='\n'):
    (folder / 'list.csv').write_bytes(end.join(lines).encode(encoding))
    return folder / 'list.csv'


NAMES = [f'folder/{number:03d}.png' for number in range(4)]


@pytest.mark.parametrize('separator', [',', ';', '\t', '|'])
@pytest.mark.parametrize(('encoding', 'end'), [('utf-8', '\n'), ('utf-8-sig', '\r\n'), ('utf-16', '\r')])
def test_tables_as_programs_write_them(folder, separator, encoding, end):
    lines = [separator.join(('id', 'File', 'class'))] + [
        separator.join((str(number), f'"{name}"', 'dog' if number else 'a cat')) for number, name in enumerate(NAMES)
    ]
    source = CSV(table(folder, lines, encoding, end))
    assert source.describe(3) == f'{folder}/folder/003.png'
    assert source.classes == ['a cat', 'dog'] and source.labels.tolist() == [0, 1, 1, 1]
    assert source.get_sample(1)[1] == 1


def test_numbers_are_class_numbers_and_endings_may_be_lacking(folder):
    lines = ['image_id,target', *(f'{number:03d},{number % 3}' for number in range(4))]
    source = CSV(table(folder, lines), root=folder / 'folder', ending='.png')
    assert source.classes is None and source.labels.tolist() == [0, 1, 2, 0]
    assert source.describe(0).endswith('folder/000.png')


@pytest.mark.parametrize(
    ('lines', 'arguments', 'message'),
    [
        (['path,label'], {}, 'has no rows below its column names'),
        ([''], {}, 'has no lines'),
        (['path,label', f'{NAMES[0]},1'], dict(path='file'), "no column path='file'; it has path, label"),
        (['path,label', f'{NAMES[0]},1'], dict(label='labels'), "no column label='labels'.* Did you mean 'label'"),
        (['a,b', f'{NAMES[0]},1'], {}, 'which column holds the paths cannot be told; name it as path=. It has a, b'),
        ([f'{NAMES[0]},1', f'{NAMES[1]},1'], {}, r"no line of column names: .*'folder/000.png'.*ImageList\(list_file"),
        (['path,label', f'{NAMES[0]},1,2'], {}, r'list.csv:2: this row has 3 columns'),
        (['path,label', ',1'], {}, "list.csv:2: column 'path' is empty"),
        (['path,path', f'{NAMES[0]},1'], {}, "several columns called 'path'"),
        (['path,kind', f'{NAMES[0]},'], dict(label='kind'), 'the label of row 0 is missing'),
        (['path,kind', f'{NAMES[0]},-1'], dict(label='kind'), r'row 0 \(-1\) is negative'),
        (['path', 'folder/999.png'], {}, "does not hold the images of file='.*list.csv': there is no"),
        (['path', NAMES[0]], dict(separator=';;'), 'must be one character'),
    ],
)
def test_what_a_text_table_lacks_is_said(folder, lines, arguments, message):
    with pytest.raises(DataError, match=message):
        CSV(table(folder, lines), **arguments)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"file='.*x.csv' cannot be read: No such file"):
        CSV(tmp_path / 'x.csv')
