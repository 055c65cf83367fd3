"""Data sets of the `datasets` library: what is loaded, which columns, streams."""

import numpy as np
import pytest

from selfsup.datasets.data_sources import HFDataset
from selfsup.datasets.data_sources.stores import hf_stream
from selfsup.datasets.data_sources.stores.hf_stream import Stream
from selfsup.errors import ConfigError, DataError

from . import written
from .written import COUNT, hf_data, images, labels, pixels

datasets = pytest.importorskip('datasets')


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, 'HF_DATASETS_CACHE', str(tmp_path / 'cache'))


def test_parquet_files_and_a_folder_of_them(tmp_path):
    folder = tmp_path / 'd'
    folder.mkdir()
    hf_data().to_parquet(str(folder / 'train.parquet'))
    for path in (folder / 'train.parquet', folder / '*.parquet', folder):
        source = HFDataset(path)
        assert len(source) == COUNT and source.classes == ['x', 'y', 'z'] and source.labels.tolist() == labels()
        np.testing.assert_array_equal(np.asarray(source.get_sample(5)[0]), pixels(images()[5]))


def test_splits_of_a_saved_data_set(tmp_path):
    data = hf_data()
    datasets.DatasetDict(train=data, test=data.select([5, 3])).save_to_disk(str(tmp_path / 'd'))
    assert len(HFDataset(tmp_path / 'd')) == COUNT
    source = HFDataset(tmp_path / 'd', split='test')
    assert source.labels.tolist() == [2, 0] and source.describe(1).endswith('d (test): example 1')
    np.testing.assert_array_equal(np.asarray(source.get_sample(1)[0]), pixels(images()[3]))
    with pytest.raises(DataError, match=r"has no split='val'; it has train, test"):
        HFDataset(tmp_path / 'd', split='val')


def test_images_are_not_decoded_by_the_library(tmp_path, monkeypatch):
    written.hf(tmp_path)
    monkeypatch.setattr(datasets.Image, 'decode_example', lambda *_: pytest.fail('it decodes'))
    assert HFDataset(tmp_path / 'hf').get_sample(0)[0].size == (written.SIZE, written.SIZE)


def test_images_that_are_files(tmp_path):
    written.folder(tmp_path)
    data = datasets.Dataset.from_dict({'image': [str(tmp_path / f'folder/{i:03d}.png') for i in range(4)]})
    data.cast_column('image', datasets.Image()).save_to_disk(str(tmp_path / 'd'))
    np.testing.assert_array_equal(np.asarray(HFDataset(tmp_path / 'd').get_sample(2)), pixels(images()[2]))


@pytest.mark.parametrize(
    ('columns', 'arguments', 'labels_or_message'),
    [
        (dict(a=images(3), b=images(3)), {}, 'cannot be told; name it as image=. It has a'),
        (dict(a=images(3), b=images(3)), dict(image='b'), None),
        (dict(img=images(3), label=['x', 'y', 'x']), {}, [0, 1, 0]),
        (dict(img=images(3), label=[-1, -1, -1]), {}, None),
        (dict(img=images(3), label=[0, -1, 1]), dict(label='label'), r'row 1 \(-1\) is negative'),
        (dict(img=images(3), n=[2, 1, 0]), dict(label='n'), [2, 1, 0]),
        (dict(img=images(3)), dict(label='n'), "no column label='n'"),
        (dict(img=images(3)), dict(image='image'), "no column image='image'; it has img. Did you mean 'img'"),
    ],
)
def test_which_column_holds_what(tmp_path, columns, arguments, labels_or_message):
    datasets.Dataset.from_dict(columns).save_to_disk(str(tmp_path / 'd'))
    if isinstance(labels_or_message, str):
        with pytest.raises(DataError, match=labels_or_message):
            HFDataset(tmp_path / 'd', **arguments)
        return
    found = HFDataset(tmp_path / 'd', **arguments).labels
    assert (None if found is None else found.tolist()) == labels_or_message


def test_test_splits_without_labels_and_several_labels(tmp_path):
    names = datasets.ClassLabel(names=['x', 'y'])
    features = datasets.Features(image=datasets.Value('binary'), label=names, fine=names)
    rows = dict(image=images(2), label=[-1, -1], fine=[0, 1])
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / 'd'))
    assert 'several' not in HFDataset(tmp_path / 'd').no_labels  # one of them is called label
    assert 'is -1 throughout' in HFDataset(tmp_path / 'd').no_labels
    assert HFDataset(tmp_path / 'd', label='fine').classes == ['x', 'y']


def test_without_a_network_a_name_on_the_hub_is_one_line(monkeypatch):
    def fails(*_, **__):
        raise ConnectionError("Couldn't reach 'someone/photos' on the Hub\n(timeout)")

    monkeypatch.setattr(datasets, 'load_dataset', fails)
    with pytest.raises(
        DataError, match=r"path='someone/photos' cannot be loaded \(ConnectionError: .*Hub \(timeout\)\). Check"
    ):
        HFDataset('someone/photos')
    with pytest.raises(DataError, match=r'Give a folder of save_to_disk'):
        HFDataset('/nowhere/photos')


def test_a_missing_package_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'datasets', None)
    with pytest.raises(DataError, match=r"HFDataset needs datasets, which .* pip install 'selfsup\[data\]'"):
        HFDataset(tmp_path)


# ---- streams ----


@pytest.fixture
def stream(tmp_path):
    written.hf(tmp_path)

    def make(**arguments):
        return HFDataset(tmp_path / 'hf', streaming=True, window_images=32, **arguments)

    return make


def test_a_stream_is_counted_or_believed(stream):
    assert len(stream()) == COUNT and len(stream(number=20)) == 20
    assert 'labels of a stream' in stream().no_labels and stream().in_order
    with pytest.raises(ConfigError, match=r'it is for streaming=True'):
        HFDataset('any', number=3)


def test_a_stream_that_ends_early_says_so(stream):
    with pytest.raises(DataError, match=r'has ended after 48 examples. Give their number as number=48'):
        stream(number=60).get_sample(59)


def test_any_order_in_a_window_reads_each_example_once(stream, monkeypatch):
    starts = []
    plain = Stream._examples
    monkeypatch.setattr(Stream, '_examples', lambda self, first: starts.append(first) or plain(self, first))
    source = stream()
    for index in (20, 3, 17, 0, 23, *range(24, 40), 47, 30):
        np.testing.assert_array_equal(np.asarray(source.get_sample(index)), pixels(images()[index]))
    assert starts == [0]
    source.get_sample(2)  # the next epoch
    assert starts == [0, 0]


def test_a_resume_skips_what_lies_before_its_window(stream, monkeypatch):
    monkeypatch.setattr(hf_stream, 'BATCH', 1)
    source = stream()
    reader = source.stream
    source.get_sample(47)
    assert len(reader._cells) == 1 + 24 and min(reader._cells) == 47 - 24


class Numbers:
    """Examples that are their numbers."""

    def __init__(self, first=0):
        self.first = first

    def skip(self, count):
        return Numbers(count)

    def iter(self, batch_size):
        for start in range(self.first, 500, batch_size):
            yield {'n': list(range(start, min(500, start + batch_size)))}


def test_a_stream_in_any_order_is_refused():
    stream = Stream(Numbers(), 'n', 32, 'the stream')
    order = np.random.RandomState(0).permutation(500)
    with pytest.raises(DataError, match=r"is read here and there.*data.sampler=dict\(type='WindowSampler'\)"):
        for index in order.tolist():
            assert stream.read(index) == index
    again = Stream(Numbers(), 'n', 32, 'the stream')
    for index in [*range(400), *range(100, 300), *range(50, 500), *range(500)]:  # back now and then
        assert again.read(index) == index


def test_a_network_that_breaks_is_no_broken_image(stream, monkeypatch):
    source = stream()

    def breaks(self, first):
        yield {'bytes': images()[0], 'path': None}
        raise OSError('connection reset')

    monkeypatch.setattr(Stream, '_examples', breaks)
    source.get_sample(0)
    with pytest.raises(DataError, match=r'broke at example 1: OSError: connection reset. Resume the run'):
        source.get_sample(1)
