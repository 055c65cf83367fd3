"""Data sources: what they find, what they refuse and in which words."""

import hashlib
import io
import pickle
import sys
import types
import warnings

import numpy as np
import pytest
from PIL import Image

from selfsup.datasets.data_sources import Cifar10, Cifar100, Digits, ImageFolder, ImageList, ImageNet
from selfsup.datasets.data_sources.base import NameTable
from selfsup.errors import ConfigError, DataError, SelfSupWarning
from selfsup.registry import DATA_SOURCES

from .conftest import save_image


def make_list(tmp_path, text, files=()):
    for name in files:
        save_image(tmp_path / 'root' / name)
    (tmp_path / 'root').mkdir(exist_ok=True)
    (tmp_path / 'list.txt').write_text(text)
    return dict(root=str(tmp_path / 'root'), list_file=str(tmp_path / 'list.txt'))


def test_labelled_list_with_spaces_blank_lines_and_crlf(tmp_path):
    args = make_list(tmp_path, 'a b.jpg 3\r\n\r\n  \nsub/c.jpg\t0\nd.jpg   12', ['a b.jpg', 'sub/c.jpg', 'd.jpg'])
    source = ImageList(**args)
    assert len(source) == 3
    assert source.labels.tolist() == [3, 0, 12] and source.labels.dtype == np.int64
    assert source.describe(0).endswith('/root/a b.jpg') and source.describe(1).endswith('/root/sub/c.jpg')
    assert source.num_classes == 13 and source.classes is None
    image, label = source.get_sample(0)
    assert image.mode == 'RGB' and image.size == (20, 16) and label == 3
    assert isinstance(ImageList(**args, return_label=False).get_sample(0), Image.Image)


def test_unlabelled_list(tmp_path):
    source = ImageNet(**make_list(tmp_path, 'a b.jpg\nc.jpg\n', ['a b.jpg', 'c.jpg']))
    assert source.labels is None and source.num_classes is None and len(source) == 2
    assert isinstance(source.get_sample(1), Image.Image)


def test_a_file_named_like_a_labelled_line_is_a_file(tmp_path):
    args = make_list(tmp_path, 'photo 12\nphoto 13\n')
    for name in ('photo 12', 'photo 13'):
        save_image(tmp_path / 'root' / 'x.png')
        (tmp_path / 'root' / 'x.png').rename(tmp_path / 'root' / name)
    source = ImageList(**args)
    assert source.labels is None and source.describe(0).endswith('/photo 12') and source.get_sample(0).size == (20, 16)
    (tmp_path / 'root' / 'photo 13').rename(tmp_path / 'root' / 'photo')
    with pytest.raises(DataError, match=r"list.txt:2: 'photo 13' ends in a label, but line 1 \('photo 12'\) has none"):
        ImageList(**args)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            'a.jpg 1\nb.jpg\n',
            r"list.txt:2: 'b.jpg' has no label, but line 1 \('a.jpg 1'\) has one. Label all lines or none.",
        ),
        ('a.jpg\n\nb.jpg 2\n', r"list.txt:3: 'b.jpg 2' ends in a label, but line 1"),
        ('a.jpg 0\nb.jpg -1\n', r"list.txt:2: 'b.jpg -1' has a negative label. Number the classes from 0."),
        ('', r"list.txt' has no lines"),
        ('\n  \n', r"list.txt' has no lines"),
        ('x.jpg 0\ny.jpg 1\n', r"does not hold the images .* there is no '.*root/x.jpg'"),
    ],
)
def test_list_errors(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        ImageList(**make_list(tmp_path, text, ['a.jpg', 'b.jpg']))


def test_missing_list_file(tmp_path):
    with pytest.raises(DataError, match=r"list_file='.*none.txt' cannot be read: No such file"):
        ImageList(root=str(tmp_path), list_file=str(tmp_path / 'none.txt'))


def test_memcached_falls_back_to_files_with_one_warning(tmp_path):
    args = make_list(tmp_path, 'a.jpg\n', ['a.jpg'])
    with pytest.warns(SelfSupWarning, match="module 'mc' is not installed") as caught:
        source = ImageList(**args, memcached=True, mclient_path='/nowhere')
    assert len(caught) == 1
    assert source.get_sample(0).size == (20, 16)


def test_memcached_reads_through_the_module(tmp_path, monkeypatch):
    args = make_list(tmp_path, 'a.jpg\n')
    content = io.BytesIO()
    Image.new('L', (7, 5), 9).save(content, 'PNG')
    asked = []

    class Client:
        def Get(self, path, value):
            asked.append(path)
            value.append(content.getvalue())

    mc = types.ModuleType('mc')
    mc.__spec__ = types.SimpleNamespace(name='mc')
    mc.MemcachedClient = types.SimpleNamespace(
        GetInstance=lambda servers, client: asked.append((servers, client)) or Client()
    )
    mc.pyvector, mc.ConvertBuffer = list, lambda value: value[0]
    monkeypatch.setitem(sys.modules, 'mc', mc)
    with pytest.raises(ConfigError, match='needs mclient_path'):
        ImageList(**args, memcached=True)
    source = pickle.loads(pickle.dumps(ImageList(**args, memcached=True, mclient_path='conf')))
    image = source.get_sample(0)
    assert image.mode == 'RGB' and image.size == (7, 5)
    assert asked == [('conf/server_list.conf', 'conf/client.conf'), source.describe(0)]


def test_name_table_is_compact_and_keeps_odd_names():
    names = ['a', '', 'x/ü b.jpg', 'bad\udcff.jpg'] * 50
    table = NameTable(names)
    assert [table[i] for i in range(len(table))] == names
    assert (
        len(pickle.dumps(table)) < sum(len(n.encode('utf-8', 'surrogateescape')) for n in names) + 8 * len(names) + 500
    )
    with pytest.raises(IndexError):
        table[200]


def test_folder_with_classes(folder):
    (folder / 'dog' / 'deep').mkdir()
    save_image(folder / 'dog' / 'deep' / 'z.PNG')
    save_image(folder / '.hidden' / 'a.jpg')
    (folder / 'cat' / 'notes.txt').write_text('no image')
    (folder / 'cat' / 'loop').symlink_to(folder)
    source = ImageFolder(str(folder))
    assert len(source) == 101 and source.classes == ['cat', 'dog'] and source.num_classes == 2
    assert source.labels.tolist() == [0] * 50 + [1] * 51
    paths = [source.describe(i) for i in range(101)]
    assert paths == sorted(paths) and paths[-1].endswith('dog/deep/z.PNG')
    assert source.get_sample(60)[1] == 1
    assert isinstance(ImageFolder(str(folder), return_label=False).get_sample(0), Image.Image)


def test_folder_without_classes(tmp_path):
    for name in ('b.jpg', 'a.png', 'sub/c.webp'):
        save_image(tmp_path / name)
    source = ImageFolder(str(tmp_path))
    assert len(source) == 3 and source.labels is None and source.classes is None
    assert isinstance(source.get_sample(2), Image.Image)
    assert len(ImageFolder(str(tmp_path), extensions=['.PNG'])) == 1


def test_folder_names_class_folders_without_images(folder):
    (folder / 'eel').mkdir()
    with pytest.warns(SelfSupWarning, match='folders without images.*: eel'):
        assert ImageFolder(str(folder)).classes == ['cat', 'dog']


def test_folder_errors(tmp_path):
    with pytest.raises(DataError, match=r"root='.*none' does not exist"):
        ImageFolder(str(tmp_path / 'none'))
    (tmp_path / 'x.zip').write_bytes(b'PK')
    with pytest.raises(DataError, match=r"root='.*x.zip' is a file. Unpack it"):
        ImageFolder(str(tmp_path / 'x.zip'))
    (tmp_path / 'empty' / 'sub').mkdir(parents=True)
    with pytest.raises(DataError, match=r"root='.*empty' holds no images"):
        ImageFolder(str(tmp_path / 'empty'))


@pytest.mark.parametrize('mode', ['L', 'P', 'RGBA', '1', 'CMYK'])
def test_every_mode_is_read_as_rgb(tmp_path, mode):
    save_image(tmp_path / ('a.jpg' if mode == 'CMYK' else 'a.png'), mode=mode)
    assert ImageFolder(str(tmp_path)).get_sample(0).mode == 'RGB'


def test_16_bits_keep_their_upper_8_and_floats_are_refused(tmp_path):
    values = np.array([[0, 255], [256, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / 'a.png')
    image = ImageFolder(str(tmp_path)).get_sample(0)
    assert image.mode == 'RGB' and np.asarray(image)[..., 0].tolist() == [[0, 0], [1, 255]]
    Image.fromarray(values.astype(np.float32)).save(tmp_path / 'b.tif')
    with pytest.raises(ValueError, match='its pixels are floats'):
        ImageFolder(str(tmp_path)).get_sample(1)


def test_links_in_a_folder(tmp_path):
    save_image(tmp_path / 'a.png')
    (tmp_path / 'loop').symlink_to('.')
    (tmp_path / 'self.png').symlink_to('self.png')
    source = ImageFolder(str(tmp_path))
    assert [source.describe(i) for i in range(len(source))] == [str(tmp_path / 'a.png'), str(tmp_path / 'self.png')]
    with pytest.raises(OSError):
        source.read_image(1)


def test_a_folder_that_cannot_be_searched(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(13, 'Permission denied', str(tmp_path / 'secret'))

    monkeypatch.setattr('os.scandir', refuse)
    with pytest.raises(DataError, match=r'cannot be searched: .*secret: Permission denied\.'):
        ImageFolder(str(tmp_path))


def test_digits():
    train, test = Digits('train'), Digits('test', size=24)
    assert len(train) + len(test) == 1797 and train.classes == [str(i) for i in range(10)]
    share = np.bincount(test.labels) / (np.bincount(train.labels) + np.bincount(test.labels))
    assert np.abs(share - 0.2).max() < 0.01
    image, label = test.get_sample(5)
    assert image.size == (24, 24) and image.mode == 'RGB' and label == test.labels[5]
    assert train.get_sample(0)[0].size == (8, 8)
    pixels = np.stack([np.asarray(train.get_sample(i)[0]) for i in range(50)])
    assert pixels.max() == 255 and pixels.min() == 0
    # the division may never move: results measured with it would no longer compare
    assert hashlib.sha256(train.labels.tobytes()).hexdigest()[:12] == '0c9090e31740'
    assert not np.array_equal(Digits('train', seed=1).labels, train.labels)


@pytest.mark.parametrize('wrong', [dict(split='val'), dict(test_share=1.0), dict(size=0), dict(size='big')])
def test_digits_errors(wrong):
    with pytest.raises(ConfigError):
        Digits(**wrong)


def write_cifar(root, kind):
    """Files as in the unpacked archive, with 4 images each."""
    files = {'Cifar10': [*(f'data_batch_{i}' for i in range(1, 6)), 'test_batch'], 'Cifar100': ['train', 'test']}[kind]
    base = root / {'Cifar10': 'cifar-10-batches-py', 'Cifar100': 'cifar-100-python'}[kind]
    base.mkdir(parents=True)
    key, names, meta = (
        ('labels', 'label_names', 'batches.meta') if kind == 'Cifar10' else ('fine_labels', 'fine_label_names', 'meta')
    )
    for number, name in enumerate(files):
        data = np.full((4, 3072), number, dtype=np.uint8)
        data[:, :1024] = 200  # the first third is the red plane
        (base / name).write_bytes(pickle.dumps({'data': data, key: [0, 1, 2, 1]}))
    (base / meta).write_bytes(pickle.dumps({names: ['ant', 'bee', 'cow']}))


@pytest.mark.parametrize('cls', [Cifar10, Cifar100])
def test_cifar(tmp_path, monkeypatch, cls):
    with pytest.raises(
        DataError,
        match=r'does not hold CIFAR10*, or a damaged copy. Unpack https://.*tar.gz there.*or set download=True',
    ):
        cls(str(tmp_path), 'train')
    write_cifar(tmp_path, cls.__name__)
    with pytest.raises(DataError, match='damaged copy'):  # the checksums are not those of the archive
        cls(str(tmp_path), 'test')
    monkeypatch.setattr('torchvision.datasets.cifar.check_integrity', lambda *args: True)
    train, test = cls(str(tmp_path), 'train'), cls(str(tmp_path), 'test', return_label=False)
    assert len(train) == (20 if cls is Cifar10 else 4) and len(test) == 4
    assert train.classes == ['ant', 'bee', 'cow'] and train.labels[:4].tolist() == [0, 1, 2, 1]
    image, label = train.get_sample(1)
    assert label == 1 and image.getpixel((3, 4)) == (200, 0, 0)
    assert isinstance(test.get_sample(0), Image.Image)
    with pytest.raises(ConfigError, match="split='val'"):
        cls(str(tmp_path), 'val')


def test_cifar_is_not_downloaded_by_many_processes_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr('selfsup.datasets.data_sources.cifar.world_size', lambda: 2)
    with pytest.raises(DataError, match='run once with one process'):
        Cifar10(str(tmp_path), 'train', download=True)


def test_sources_are_found_by_name_and_warn_about_nothing(folder):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert len(DATA_SOURCES.build(dict(type='ImageFolder', root=str(folder)))) == 100
    assert {'ImageList', 'ImageNet', 'Places205', 'Cifar10', 'Cifar100', 'ImageFolder', 'Digits'} <= set(
        DATA_SOURCES.names()
    )
    with pytest.raises(ConfigError, match="Did you mean 'ImageFolder'"):
        DATA_SOURCES.build(dict(type='ImageFolders', root='x'))
