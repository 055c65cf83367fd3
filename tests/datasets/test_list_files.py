"""Lists of images as people write them: read, or refused in words that name what is wrong."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from selfsup.datasets.data_sources import ImageList
from selfsup.datasets.data_sources.list_files import label_warnings, whole
from selfsup.errors import DataError, SelfSupWarning

from .conftest import save_image

FILES = ('a/1.png', 'a/2.png', 'b/1.png', 'b/2.png')
LABELS = (0, 0, 1, 1)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('list') / 'images'
    for name in FILES:
        save_image(folder / name)
    return folder


def lines(form, files=FILES, labels=LABELS):
    return ''.join(form.format(file=file, label=label) for file, label in zip(files, labels, strict=True))


def read(root, tmp_path, content, encoding='utf-8'):
    (tmp_path / 'list.txt').write_bytes(content.encode(encoding))
    return ImageList(str(root), str(tmp_path / 'list.txt'))


READ = {
    'plain': (lines('{file} {label}\n'), 'utf-8'),
    'carriage returns': (lines('{file} {label}\r\n'), 'utf-8'),
    'carriage returns alone': (lines('{file} {label}\r'), 'utf-8'),
    'byte order mark': (lines('{file} {label}\n'), 'utf-8-sig'),
    'utf-16': (lines('{file} {label}\r\n'), 'utf-16'),
    'utf-32': (lines('{file},{label}\n'), 'utf-32'),
    'tabs': (lines('{file}\t{label}\n'), 'utf-8'),
    'commas': (lines('{file},{label}\n'), 'utf-8'),
    'commas and spaces': (lines('{file}, {label}\n'), 'utf-8'),
    'csv with a header': ('path,label\n' + lines('{file},{label}\n'), 'utf-8'),
    'csv with a header of unknown words': ('bild,klasse\n' + lines('{file},{label}\n'), 'utf-8'),
    'quoted csv': ('"file","class"\r\n' + lines('"{file}","{label}"\r\n'), 'utf-8'),
    'semicolons': ('filename;label\n' + lines('{file};{label}\n'), 'utf-8'),
    'bars': (lines('{file}|{label}\n'), 'utf-8'),
    'quotes and spaces': (lines('"{file}" {label}\n'), 'utf-8'),
    'header': ('path label\n' + lines('{file} {label}\n'), 'utf-8'),
    'comments': ('# made by hand\n' + lines('{file} {label}\n') + '#b/3.png 1\n', 'utf-8'),
    'labels as floats': (lines('{file} {label}.0\n'), 'utf-8'),
    'empty lines': ('\n\n' + lines('{file} {label}\n\n'), 'utf-8'),
}


@pytest.mark.parametrize('form', READ)
def test_forms_that_are_read(form, root, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        source = read(root, tmp_path, *READ[form])
    assert [source.describe(i) for i in range(len(source))] == [str(root / name) for name in FILES]
    assert source.labels.tolist() == list(LABELS)


@pytest.mark.parametrize(
    'content', ['file\n' + '\n'.join(FILES), '"' + '"\n"'.join(FILES) + '"', '# all\n' + '\n'.join(FILES)]
)
def test_forms_without_labels(content, root, tmp_path):
    source = read(root, tmp_path, content)
    assert source.labels is None and [source.describe(i) for i in range(len(source))] == [
        str(root / name) for name in FILES
    ]


def test_names_that_look_like_forms_are_names(tmp_path):
    """What is on disk decides: a comma, a number sign or a quote may belong to a name."""
    names = ['#1.png', 'x,3.png', 'path', 'y;1']
    for name in names:
        save_image(tmp_path / 'root' / 'tmp.png')
        (tmp_path / 'root' / 'tmp.png').rename(tmp_path / 'root' / name)
    plain = read(tmp_path / 'root', tmp_path, '\n'.join(names))
    assert plain.labels is None and [plain.describe(i).rpartition('/')[2] for i in range(4)] == names
    labelled = read(tmp_path / 'root', tmp_path, ''.join(f'{name} {i}\n' for i, name in enumerate(names)))
    assert labelled.labels.tolist() == [0, 1, 2, 3] and labelled.describe(1).endswith('/x,3.png')
    quoted = read(tmp_path / 'root', tmp_path, ''.join(f'"{name}",{i}\n' for i, name in enumerate(names)))
    assert quoted.labels.tolist() == [0, 1, 2, 3] and quoted.describe(1).endswith('/x,3.png')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (
            lines('{file} 99999999999999999999\n'),
            r"list.txt:1: 'a/1.png 9+' has the label 9+, which is too large for a class number",
        ),
        (lines('{file},9223372036854775808\n'), r'list.txt:1: .* too large for a class number'),
        (lines('{file} {label}.5\n'), r"There is 'a/1.png', but '0.5' is no class number"),
        (
            lines('{file},cat\n'),
            r"list.txt:1: 'a/1.png,cat' has the label 'cat', which is no whole number. Number the classes from 0.",
        ),
        (lines('{file},{label},x\n'), r"list.txt:1: 'a/1.png,0,x' has 3 columns, separated by ','"),
        (
            lines('{file},{label}\n') + 'b/1.png\n',
            r"list.txt:5: 'b/1.png' has 1 columns, but line 1 has 2. Label all lines or none.",
        ),
        (lines('{file} -1\n'), r'negative label. .*Where -1 stands for no label'),
        (lines('{label} {file}\n'), r"There is 'a/1.png', but the label stands first"),
        (lines('{file} {label} 7\n'), r"There is 'a/1.png', but there is more than one number"),
        (lines('{file} cat\n'), r"There is 'a/1.png', but 'cat' is no class number"),
        (lines('/{file} {label}\n'), r"'/a/1.png' begins with a slash"),
        (lines('{file} {label}\n', [name.replace('/', '\\') for name in FILES]), r"backslashes: write 'a/1.png'"),
        (
            lines('{file} {label}\n', [name.upper() for name in FILES]),
            r"There is 'a/1.png': the names differ in upper and lower case",
        ),
        (lines('{file} {label}\n', [name[:-4] for name in FILES]), r"There is 'a/1.png': the names lack their ending"),
        (
            lines('{file} {label}\n', [name[:-3] + 'jpg' for name in FILES]),
            r"There is 'a/1.png': the names have another ending",
        ),
        ('a 0\nb 1\n', r"/a' is a folder: name images, or use ImageFolder"),
        (lines('other/{file},{label}\n'), r"there is no '.*/images/other/a/1.png'. Point root to the folder"),
        (
            lines('{file} {label}\n').encode('utf-16-le').decode('latin-1'),
            r'no text in UTF-8: .* UTF-16 without a byte order mark',
        ),
        ('# nothing\n', 'has no lines'),
        (lines('{file},{label}\n') + 'x' * 200_000 + ',1\n', r'1 columns, but line 1 has 2'),
        ('"' + lines('{file},{label}\n'), r"list.txt:2: 'a/2.png,0' has 2 columns, but line 1 has 1"),
        ('y' * 200_000, 'does not hold the images'),
    ],
)
def test_what_is_refused_is_named(content, message, root, tmp_path):
    with pytest.raises(DataError, match=message) as found:
        read(root, tmp_path, content)
    assert '\n' not in str(found.value)


def test_names_that_start_from_the_working_folder(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root.parent)
    with pytest.raises(DataError, match=r"'images/a/1.png' is there when seen from the working folder: set root='\.'"):
        read('images', tmp_path, lines('images/{file} {label}\n'))


def test_missing_files_are_counted_at_the_start(root, tmp_path):
    with pytest.raises(
        DataError, match=r'4 of its 8 files are missing: .*gone/0.png, .*gone/3.png. Fetch them'
    ) as found:
        read(root, tmp_path, '\n'.join([*FILES, *(f'gone/{i}.png' for i in range(4))]))
    assert str(found.value).count('gone/') == 4
    some = [FILES[i % 4] for i in range(199)]
    with pytest.warns(SelfSupWarning, match=r'1 of its 200 files is missing and will be skipped: .*gone.png'):
        assert len(read(root, tmp_path, '\n'.join([*some, 'gone.png']))) == 200
    with pytest.raises(DataError, match='3 of its 202 files are missing'):  # more than 1 %
        read(root, tmp_path, '\n'.join([*some, 'gone.png', 'gone2.png', 'gone3.png']))


def test_of_a_long_list_a_thousand_files_are_looked_at(root, tmp_path):
    good = [FILES[0]] * 9000
    with pytest.raises(DataError, match=r'the 1,000 files that were looked at \(the list has 10,000\) are missing'):
        read(root, tmp_path, '\n'.join([*good, *['gone.png'] * 1000]))
    # 3 % of those looked at: which is 1 % of all cannot be told.
    with pytest.warns(SelfSupWarning, match='will be skipped'):
        read(root, tmp_path, '\n'.join([*good, *good[:700], *['gone.png'] * 300]))


@pytest.mark.parametrize(
    ('labels', 'said'),
    [
        ([1, 2, 3], 'labels go from 1 to 3 and none is 0, as if classes were counted from 1. .*so there are 4 classes'),
        (
            [0, 100, 200],
            'labels go up to 200, but only 3 of the 201 class numbers from 0 have an image; there is none of class 1, 2, ',
        ),
        ([0, 2, 3], 'only 3 of the 4 .* none of class 1. Number'),
        ([5], 'only 1 of the 6'),
    ],
)
def test_labels_that_were_hardly_meant(labels, said, root, tmp_path):
    with pytest.warns(SelfSupWarning, match=said):
        read(root, tmp_path, ''.join(f'a/1.png {label}\n' for label in labels))
    assert label_warnings(np.array([0, 1, 2, 1])) == []


def test_labels_that_nobody_reads_are_not_warned_about(root, tmp_path):
    (tmp_path / 'list.txt').write_text('a/1.png 1\n')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        ImageList(str(root), str(tmp_path / 'list.txt'), return_label=False)


def test_whole_numbers():
    assert [whole(x) for x in ('3', '+3', '-1', '3.0', '3.', '007')] == [3, 3, -1, 3, 3, 7]
    assert [whole(x) for x in ('3.5', 'x', '', '1e3', '3 4', '.0', '0x1', '1' * 200)] == [None] * 8


def test_folders_of_labels(root, tmp_path):
    assert read(root, tmp_path, lines('{file} {label}\n')).folders_of_labels() == {0: 'a', 1: 'b'}
    assert read(root, tmp_path, lines('./{file} {label}\n')).folders_of_labels() == {0: 'a', 1: 'b'}
    for other in ('a/1.png 0\na/2.png 1\n', 'a/1.png 0\nb/1.png 0\n', 'a/1.png\n'):
        assert read(root, tmp_path, other).folders_of_labels() == {}
