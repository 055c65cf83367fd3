"""A run is resumed on other data: other images, the same in another order, with other labels, of other sizes, or moved."""

import shutil

import pytest
import torch

from selfsup.datasets.data_sources import Digits, ImageFolder, ImageList
from selfsup.datasets.digest import class_names, data_digest
from selfsup.errors import CheckpointError, ConfigError
from tests.models.tiny_models import IMAGES

from .runs import train, write_config, write_images
from .test_matrix import RESNET, write

METHODS = ('MOCO', 'SparK', 'NPID', 'ODC', 'DeepCluster')
PER_IMAGE = METHODS[2:]  # they keep something for each image number
STOP, STEPS = 3, 1
EVERY = ('checkpoint_config.by_epoch=False', 'total_epochs=2')


def write_data(folder, count=IMAGES):
    images = write_images(folder, count)
    (images / 'labels.txt').write_text(''.join(f'{i:03d}.jpg {i % 5}\n' for i in range(count)))
    return images


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """method -> (config, checkpoint after STOP iterations, the unchanged run STEPS later)."""
    made = {}

    def make(method):
        if method not in made:
            folder = tmp_path_factory.mktemp(method)
            config = (
                write(folder, write_data(folder / 'images'), method, RESNET)
                if method in PER_IMAGE
                else write_config(folder, method)
            )
            first = (
                train(config, folder / f'{method}-first', *EVERY, stop_after=STOP, curves=False) / f'iter_{STOP}.pth'
            )
            made[method] = config, first, resume(config, first, folder / f'{method}-on')
        return made[method]

    return make


def resume(config, checkpoint, work_dir, *options, **how):
    train(config, work_dir, *EVERY, *options, resume_from=str(checkpoint), stop_after=STOP + STEPS, curves=False, **how)
    return torch.load(work_dir / f'iter_{STOP + STEPS}.pth', weights_only=True)


def elsewhere(config, images):
    """Options that read the images of `images`; a clustering hook reads them too."""
    text = config.read_text()
    name = 'labels.txt' if 'labels.txt' in text else 'list.txt'
    keys = [
        'data.train.data_source',
        *(['custom_hooks.0.extractor.dataset.data_source'] if 'DeepClusterHook' in text else []),
    ]
    return [f'{key}.{part}={value}' for key in keys for part, value in (('root', images), ('list_file', images / name))]


def equal(one, other):
    return all(torch.equal(value, other['state_dict'][name]) for name, value in one['state_dict'].items())


def copied(runs, method, tmp_path):
    """A copy of the images of a method's run."""
    return shutil.copytree(runs(method)[0].parent / 'images', tmp_path / 'copy')


@pytest.mark.parametrize('method', METHODS)
def test_other_images_of_the_same_number(runs, tmp_path, method):
    config, checkpoint, unchanged = runs(method)
    images = copied(runs, method, tmp_path)
    names = sorted(path.name for path in images.glob('*.jpg'))
    for name, source in zip(names, reversed(names), strict=True):  # what is in them is another image too
        (images / source).rename(images / f'x{name}')
    for file in images.glob('*.txt'):
        file.write_text(''.join(f'x{line}' for line in file.read_text().splitlines(keepends=True)))
    with pytest.raises(
        CheckpointError,
        match=rf'data was {len(names)} images and is other images \(use those of the first run or give '
        r'--allow-changed data\)',
    ):
        resume(config, checkpoint, tmp_path / 'refused', *elsewhere(config, images))
    found = resume(config, checkpoint, tmp_path / 'allowed', *elsewhere(config, images), allow_changed=['data'])
    assert found['meta']['data']['names'] != unchanged['meta']['data']['names']
    assert 'data' in [row['key'] for row in found['meta']['changed']]
    assert not equal(found, unchanged)


@pytest.mark.parametrize('method', METHODS)
def test_the_same_list_in_another_order(runs, tmp_path, method):
    config, checkpoint, unchanged = runs(method)
    images = copied(runs, method, tmp_path)
    for file in images.glob('*.txt'):
        file.write_text(''.join(reversed(file.read_text().splitlines(keepends=True))))
    with pytest.raises(CheckpointError, match='and is the same images in another order'):
        resume(config, checkpoint, tmp_path / 'refused', *elsewhere(config, images))
    assert not equal(
        resume(config, checkpoint, tmp_path / 'allowed', *elsewhere(config, images), allow_changed=['data']), unchanged
    )


@pytest.mark.parametrize('method', METHODS)
def test_a_folder_that_moved_is_the_same_data(runs, tmp_path, method):
    config, checkpoint, unchanged = runs(method)
    images = copied(runs, method, tmp_path)
    assert equal(resume(config, checkpoint, tmp_path / 'run', *elsewhere(config, images)), unchanged)


@pytest.mark.parametrize('method', METHODS)
def test_another_number_is_never_allowed(runs, tmp_path, method):
    config, checkpoint, _ = runs(method)
    images = copied(runs, method, tmp_path)
    for file in images.glob('*.txt'):
        file.write_text(''.join(file.read_text().splitlines(keepends=True)[:-4]))
    refusal = r'number of images was (\d+) and is \d+ \(use the data set of the first run\)'
    if method in ('NPID', 'ODC'):  # one entry per image: refused before the checkpoint is looked at
        refusal = r'memory_bank\.length=\d+, but there are \d+ training images'
    with pytest.raises((CheckpointError, ConfigError), match=refusal):
        resume(config, checkpoint, tmp_path / 'run', *elsewhere(config, images), allow_changed=['data'])


def test_labels_sizes_and_files_that_changed_in_place(runs, tmp_path):
    config, checkpoint, unchanged = runs('NPID')
    images = copied(runs, 'NPID', tmp_path)
    lines = (images / 'labels.txt').read_text()
    (images / 'labels.txt').write_text(lines.replace('000.jpg 0', '000.jpg 4'))
    with pytest.raises(CheckpointError, match='and is the same images with other labels'):
        resume(config, checkpoint, tmp_path / 'a', *elsewhere(config, images))
    (images / 'labels.txt').write_text(lines)
    (images / '003.jpg').write_bytes((images / '003.jpg').read_bytes() + b'more')
    with pytest.raises(CheckpointError, match='and is files of the same names with other sizes'):
        resume(config, checkpoint, tmp_path / 'b', *elsewhere(config, images))
    found = resume(config, checkpoint, tmp_path / 'c', *elsewhere(config, images), allow_changed=['data'])
    assert found['meta']['data']['sizes'] != unchanged['meta']['data']['sizes']


def test_allowing_other_images_allows_no_other_pipeline(runs, tmp_path):
    config, checkpoint, _ = runs('MOCO')
    with pytest.raises(CheckpointError, match=r'data.train.pipeline.0.size was 8 and is 12'):
        resume(config, checkpoint, tmp_path, 'data.train.pipeline.0.size=12', allow_changed=['data'])


def test_another_kind_of_source_of_the_same_images(runs, tmp_path):
    """A list in the order of the folder: the same names, so the same data."""
    config, checkpoint, unchanged = runs('MOCO')
    source = {'type': 'ImageFolder', 'root': str(config.parent / 'images')}
    assert equal(resume(config, checkpoint, tmp_path / 'run', f'data.train.data_source={source}'), unchanged)


def test_checkpoints_name_the_classes(tmp_path):
    config = write_config(tmp_path, 'MOCO')
    for i, path in enumerate(sorted((tmp_path / 'images').glob('*.jpg'))):
        (tmp_path / 'images' / ('cat', 'dog')[i % 2]).mkdir(exist_ok=True)
        path.rename(path.parent / ('cat', 'dog')[i % 2] / path.name)
    source = {'type': 'ImageFolder', 'root': str(tmp_path / 'images')}
    meta = torch.load(
        train(config, tmp_path / 'run', f'data.train.data_source={source}', 'total_epochs=1', curves=False)
        / 'latest.pth',
        weights_only=True,
    )['meta']
    assert meta['classes'] == ['cat', 'dog']
    (tmp_path / 'images' / 'dog').rename(tmp_path / 'images' / 'wolf')
    with pytest.raises(CheckpointError, match='and is other images'):
        train(
            config,
            tmp_path / 'on',
            f'data.train.data_source={source}',
            resume_from=str(tmp_path / 'run' / 'latest.pth'),
            curves=False,
        )


def test_the_digest(tmp_path):
    images = write_data(tmp_path / 'images')
    one = data_digest(ImageList(str(images), str(images / 'labels.txt')))
    assert one['images'] == IMAGES and class_names(Digits()) == [str(i) for i in range(10)]
    assert data_digest(ImageFolder(str(images)))['names'] == one['names']  # names count from the root
    assert data_digest(ImageList(str(images), str(images / 'labels.txt')), sizes=False) == {**one, 'sizes': None}
    digits = data_digest(Digits())
    assert digits['sizes'] is None and digits['names'] != data_digest(Digits(split='test'))['names']
    assert digits['labels'] != data_digest(Digits(seed=1))['labels']
