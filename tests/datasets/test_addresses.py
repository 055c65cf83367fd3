"""One string for images anywhere, in Python, in configs and on the command line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from selfsup.arguments import arguments_of
from selfsup.config import compile_config, load
from selfsup.datasets import ContrastiveDataset
from selfsup.datasets.data_sources import ImageFolder
from selfsup.datasets.data_sources.addresses import SCHEMES, guess, source_config
from selfsup.errors import ConfigError
from selfsup.registry import DATA_SOURCES
from tests.resume.runs import write_config

from .conftest import TENSOR, save_image

ROOT = Path(__file__).resolve().parents[2]
READ = {
    'folder:/photos': dict(type='ImageFolder', root='/photos'),
    'FOLDER:/photos': dict(type='ImageFolder', root='/photos'),
    'folder:/photos?return_label=no': dict(type='ImageFolder', root='/photos', return_label=False),
    'folder:/photos?extensions=.jpg,.png': dict(type='ImageFolder', root='/photos', extensions=('.jpg', '.png')),
    'folder:/photos?extensions=.jpg': dict(type='ImageFolder', root='/photos', extensions='.jpg'),
    'folder:/a?b': dict(type='ImageFolder', root='/a?b'),  # no arguments
    'folder:/a%3Fb=c': dict(type='ImageFolder', root='/a?b=c'),
    'tiff:/rasters': dict(type='ImageFolder', root='/rasters', extensions=('.tif', '.tiff')),
    'tiff:/rasters?channels=13&value_range=0,10000': dict(
        type='ImageFolder', root='/rasters', extensions=('.tif', '.tiff'), channels=13, value_range=(0, 10000)
    ),
    'list:a/list.txt': dict(type='ImageList', list_file='a/list.txt', root='a'),
    'list:list.txt?root=/my%20photos': dict(type='ImageList', list_file='list.txt', root='/my photos'),
    'a/list.txt': dict(type='ImageList', list_file='a/list.txt', root='a'),
    'cifar10:/c': dict(type='Cifar10', root='/c', split='train'),
    'cifar10:/c?split=test&download=true': dict(type='Cifar10', root='/c', split='test', download=True),
    'digits:': dict(type='Digits'),
    'digits:?size=24&test_share=0.5': dict(type='Digits', size=24, test_share=0.5),
    'voc:/v?splits=VOC2007/train,VOC2012/train': dict(
        type='VOCDetection', root='/v', splits=('VOC2007/train', 'VOC2012/train')
    ),
    'wds:/shards/{000..127}.tar': dict(type='WebDataset', shards='/shards/{000..127}.tar'),
    's3://bucket/x-*.tar.gz?label=json:class&sequential=no': dict(
        type='WebDataset', shards='s3://bucket/x-*.tar.gz', label='json:class', sequential=False
    ),
    'wds:a.tar?cache_bytes=5GB&channels=4&value_range=0,1': dict(
        type='WebDataset', shards='a.tar', cache_bytes='5GB', channels=4, value_range=(0, 1)
    ),
    'nowhere/photos': dict(type='ImageFolder', root='nowhere/photos'),
}


@pytest.mark.parametrize('address', READ)
def test_addresses_and_what_they_stand_for(address):
    assert source_config(address) == READ[address]


@pytest.mark.parametrize(
    ('address', 'message'),
    [
        ('foldr:/photos', "'foldr:' of 'foldr:/photos' is no kind of address. Did you mean 'folder'"),
        ('folder:', "lacks its path: write 'folder:' and the root of ImageFolder"),
        ('digits:/x', 'has a path, but Digits needs none'),
        ('folder:/p?retrun_label=no', "'retrun_label' in .* is not an argument of ImageFolder. Did you mean 'return_label'"),
        ('folder:/p?return_label=maybe', "return_label=maybe in .* must be True or False"),
        ('digits:?size=big', 'size=big in .* must be a whole number >= 1 or None'),
        ('digits:?size=0', 'size=0 in .* must be a whole number >= 1 or None'),
        ('cifar10:/c?split=val', "split=val in .* must be 'train' or 'test'"),
        ('folder:/p?root=/q', 'says root twice'),
        ('', 'is no address'),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said(address, message):
    with pytest.raises(ConfigError, match=message):
        source_config(address)


def test_a_file_of_no_known_kind(tmp_path):
    (tmp_path / 'x.bin').touch()
    with pytest.raises(
        ConfigError, match=r"'.*x\.bin' does not say what it holds: write its kind before it \(folder, "
    ):
        guess(str(tmp_path / 'x.bin'))
    assert guess(str(tmp_path)) == 'folder'


@pytest.mark.parametrize('scheme', SCHEMES)
def test_every_row_names_a_source_and_its_arguments(scheme):
    row = SCHEMES[scheme]
    named, _ = arguments_of(DATA_SOURCES.get(row.type))
    assert {row.argument, row.folder, *row.fixed} - {''} <= set(named) and scheme == scheme.lower()


def test_a_data_set_takes_an_address(folder):
    dataset = ContrastiveDataset(f'folder:{folder}?return_label=no', TENSOR)
    assert isinstance(dataset.data_source, ImageFolder) and len(dataset) == 100 and not dataset.data_source.return_label
    with pytest.raises(ConfigError, match="Did you mean 'folder'"):
        ContrastiveDataset(f'foldr:{folder}', TENSOR)
    with pytest.raises(ConfigError, match=r"must be dict\(type='Name', ...\)"):
        ContrastiveDataset(3, TENSOR)


def with_source(tmp_path, address):
    """A config whose data source is written as a string, and the line of it."""
    path = write_config(tmp_path)
    text, changed = re.subn(r'^source = .*$', f'source = {address!r}', path.read_text(), flags=re.MULTILINE)
    assert changed == 1
    path.write_text(text)
    return path, text[: text.index('data_source=')].count('\n') + 1


def test_a_config_holds_an_address_and_compiles_to_the_dict(tmp_path):
    path, line = with_source(tmp_path, 'digits:?size=16')
    loaded = load(path)
    compiled = compile_config(loaded)
    assert compiled['train_dataloader']['dataset']['data_source'] == dict(type='Digits', size=16)
    assert "data_source=dict(type='Digits', size=16)" in loaded.text
    for address, message in (('digts:', 'Did you mean'), ('cifar10:/c?splitt=test', "Did you mean 'split'")):
        with pytest.raises(ConfigError) as caught:
            load(path, [f'data.train.data_source={address}'])
        (problem,) = str(caught.value).splitlines()
        assert problem.startswith("data.train.data_source (--cfg-options) cannot be read: '") and message in problem
    broken, line = with_source(tmp_path, 'digits:/x')
    with pytest.raises(ConfigError, match=rf'moco\.py:{line}\) cannot be read: .* Digits needs none'):
        load(broken)
    missing, line = with_source(tmp_path, 'voc:/v')
    with pytest.raises(
        ConfigError, match=rf"data_source \(.*moco\.py:{line}\) lacks 'splits', which VOCDetection needs"
    ):
        load(missing)


def test_data_of_the_command_line(tmp_path):
    path = write_config(tmp_path)
    given = load(path, [], {('--data', 'train'): 'digits:?size=16', ('--val-data', 'val'): None})
    assert given.cfg['data']['train']['data_source'] == dict(type='Digits', size=16)
    with pytest.raises(
        ConfigError, match=r"data.train.data_source \(--data\) cannot be read: 'digits:\?size=x'|size=x in"
    ):
        load(path, [], {('--data', 'train'): 'digits:?size=x'})
    with pytest.raises(ConfigError, match=r"--val-data 'digits:' takes the place of .* data.val, but there is none"):
        load(path, [], {('--val-data', 'val'): 'digits:'})
    nested = dict(type='ConcatDataset', datasets=[given.cfg['data']['train']])
    with pytest.raises(ConfigError, match=r'data.train is made of several data sets'):
        load(path, {'data.train': nested}, {('--data', 'train'): 'digits:'})
    repeated = load(
        path, {'data.train': dict(type='RepeatDataset', times=2, dataset=given.cfg['data']['train'])},
        {('--data', 'train'): 'digits:'},
    )  # fmt: skip
    assert repeated.cfg['data']['train']['dataset']['data_source'] == dict(type='Digits')


def test_what_clusters_the_training_images_follows_them(tmp_path):
    path = write_config(tmp_path)
    source = load(path).cfg['data']['train']['data_source']
    hooks = [
        dict(
            type='DeepClusterHook',
            extractor=dict(
                imgs_per_gpu=4, dataset=dict(type='ExtractDataset', data_source=one, pipeline=TENSOR), workers_per_gpu=0
            ),
            clustering=dict(type='Kmeans', k=2, pca_dim=4),
            unif_sampling=False,
            reweight=False,
            reweight_pow=0.5,
        )
        for one in (source, dict(type='Digits', size=8))
    ]
    cfg = load(path, {'custom_hooks': hooks}, {('--data', 'train'): 'digits:'}).cfg
    found = [hook['extractor']['dataset']['data_source'] for hook in cfg['custom_hooks']]
    assert found == [dict(type='Digits'), dict(type='Digits', size=8)]


def test_tools_take_data(tmp_path):
    path = write_config(tmp_path)
    for i in range(3):
        save_image(tmp_path / 'photos' / f'{i}.png', seed=i)
    done = subprocess.run(
        [sys.executable, 'tools/show_views.py', path, '-n', '2', '--data', tmp_path / 'photos', '--out', tmp_path / 'v.png'],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0 and (tmp_path / 'v.png').is_file(), done.stderr
