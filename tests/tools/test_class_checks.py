"""Tools that measure a classifier refuse images whose class numbers mean something else; doctor --all; first_per_class.py."""

from __future__ import annotations

import json
import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfsup.datasets.data_sources import ImageFolder
from selfsup.errors import ConfigError, DataError, SelfSupWarning
from selfsup.weights.write import write_checkpoint_atomic
from tests.datasets.test_data_sources import write_cifar
from tests.engine.detection_runs import write_config as write_detector
from tests.resume.runs import train

CONFIG = """
model = dict(type='Classification',
             backbone=dict(type='ResNet', depth=18, stage_blocks=(1, 1, 1, 1), base_channels=4, stem='cifar', out_indices=(4,)),
             head=dict(type='ClsHead', with_avg_pool=True, in_channels=32, num_classes=3))
steps = [dict(type='ToTensor')]
data = dict(imgs_per_gpu=4, workers_per_gpu=0,
            train=dict(type='ClassificationDataset', data_source=dict(type='ImageFolder', root='{root}/train'), pipeline=steps),
            val=dict(type='ClassificationDataset', data_source=dict(type='ImageFolder', root='{root}/val'), pipeline=steps))
custom_hooks = [dict(type='KNNHook', train=data['train'], test=data['val'], k=1)]
optimizer = dict(type='SGD', lr=0.1)
total_epochs = 1
"""
CLASSES = ('ant', 'bee', 'cat')


@pytest.fixture
def root(tmp_path):
    for split in ('train', 'val'):
        for number, name in enumerate(CLASSES):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(4):
                Image.new('RGB', (16, 16), (60 * number, 20 * i, 90)).save(tmp_path / split / name / f'{i}.png')
    (tmp_path / 'config.py').write_text(CONFIG.format(root=tmp_path))
    return tmp_path


def checkpoint(root, **meta):
    from selfsup.registry import MODELS

    namespace: dict = {}
    exec(CONFIG.format(root=root), namespace)
    model = MODELS.build(namespace['model'])
    return write_checkpoint_atomic(
        {'state_dict': model.state_dict(), 'meta': {'epoch': 1, **meta}}, root / 'run' / 'epoch_1.pth'
    )


def drop(folder):
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


@pytest.mark.parametrize('meta', [{}, {'classes': list(CLASSES)}], ids=['before names were kept', 'with names'])
def test_a_test_folder_without_a_class_is_refused(meta, root, call):
    """The classes after it would move down by one, and the accuracy with them."""
    weights = checkpoint(root, **meta)
    assert 'head0_top1: ' in call('test', root / 'config.py', weights, '--topk', 1)
    drop(root / 'val' / 'bee')
    with pytest.raises(
        DataError, match=r"only for training bee; only for testing none\. 'cat' is 2 for training and 1 for testing"
    ):
        call('test', root / 'config.py', weights, '--topk', 1)
    assert len(list((root / 'run').glob('test_*.log'))) == 1


def test_names_of_the_checkpoint_go_before_the_config(root, call):
    """The config's training images may be others today: what the run has kept decides."""
    weights = checkpoint(root, classes=['bee', 'ant', 'cat'])
    with pytest.raises(
        DataError,
        match=r"the same ones, numbered otherwise\..* the checkpoint '.*epoch_1.pth' with the data to test on",
    ):
        call('test', root / 'config.py', weights)


def test_what_cannot_be_compared_is_said_and_logged(root, call):
    weights, files = checkpoint(root), sorted((root / 'val').rglob('*.png'))
    for file in files:
        file.rename(root / 'val' / f'{file.parent.name}_{file.name}')
    names = sorted(path.name for path in (root / 'val').glob('*.png'))
    (root / 'val.txt').write_text(''.join(f'{name} {CLASSES.index(name.split("_")[0])}\n' for name in names))
    source = f"data.val.data_source=dict(type='ImageList', root='{root}/val', list_file='{root}/val.txt')"
    out = call('test', root / 'config.py', weights, '--topk', 1, '--cfg-options', source)
    line = 'Class names cannot be compared: the data to test on come from a list, which numbers its classes.'
    (log,) = (root / 'run').glob('test_*.log')
    assert out.count(line) == 1 and line in log.read_text()


def test_a_detector_on_other_categories_is_refused(tmp_path, call):
    """The numbers of categories follow their ids: with two names exchanged, each box would count for the other one."""
    from selfsup.registry import MODELS

    path = write_detector(tmp_path)
    namespace: dict = {}
    exec(path.read_text(), namespace)
    annotations = tmp_path / 'shapes' / 'coco' / 'val.json'
    content = json.loads(annotations.read_text())
    names = [category['name'] for category in sorted(content['categories'], key=lambda category: category['id'])]
    model = MODELS.build(namespace['model'])
    weights = write_checkpoint_atomic(
        {'state_dict': model.state_dict(), 'meta': {'classes': names}}, tmp_path / 'run' / 'iter_4.pth'
    )
    first, second = sorted(content['categories'], key=lambda category: category['id'])[:2]
    first['name'], second['name'] = second['name'], first['name']
    annotations.write_text(json.dumps(content))
    with pytest.raises(
        DataError, match=f"the same ones, numbered otherwise\\. '{names[1]}' is 1 for training and 0 for testing"
    ):
        call('benchmarks/test_det', path, weights)
    source = dict(type='COCO', root=str(tmp_path / 'shapes' / 'coco' / 'val'), ann_file=str(annotations))
    hook = dict(
        type='DetectionHook',
        dataset=dict(type='DetectionDataset', pipeline=[], data_source=source),
        prefetch=True,
        img_norm_cfg=namespace['img_norm_cfg'],
    )
    with pytest.raises(DataError, match=r'the same ones, numbered otherwise.*the training images with the test images'):
        train(path, tmp_path / 'hook', f'custom_hooks={[hook]}')
    assert not list((tmp_path / 'hook').glob('*.pth')) and not (tmp_path / 'run' / 'detection.json').exists()


# --- doctor --all


def test_doctor_reads_every_image_and_names_the_broken_ones(root, call, capsys):
    out = call('doctor', root / 'config.py', '--all', '--seconds', 0.2)
    assert 'train_dataloader.dataset: ImageFolder, 12 images' in out and 'all 24 images can be read' in out
    # The hook's images are those of data.train and data.val: once each.
    assert out.count('read 12 of 12, 0 broken') == 2
    broken = [root / 'train' / 'bee' / '2.png', root / 'val' / 'ant' / '0.png', root / 'val' / 'cat' / '3.png']
    broken[0].write_bytes(b'')
    broken[1].write_bytes(broken[1].read_bytes()[:60])
    broken[2].write_text('<html>not found</html>')
    with pytest.raises(DataError, match='3 of 24 images cannot be read; they are listed above'):
        call('doctor', root / 'config.py', '--all', '--seconds', 0.2)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('  broken: ')]
    assert [line.split(': ')[1] for line in lines] == [str(path) for path in broken]
    assert all(len(line.split(': ', 2)[2]) > 10 for line in lines)  # the reason


def test_doctor_does_not_say_all_good_of_a_broken_image(tmp_path, call, capsys):
    """A data set takes the next image for a broken one, so the sample itself can be read."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / 'train' / name).mkdir(parents=True)
        for i in range(70):
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(
                tmp_path / 'train' / name / f'{i:03d}.png'
            )
    (tmp_path / 'train' / 'ant' / '000.png').write_text('broken')
    (tmp_path / 'val').symlink_to('train')
    (tmp_path / 'config.py').write_text(CONFIG.format(root=tmp_path))
    with pytest.raises(DataError, match=r'1 samples cannot be read: sample 0 \(.*/train/ant/000\.png\)'):
        call('doctor', tmp_path / 'config.py', '--seconds', 0.2)
    out = capsys.readouterr().out
    assert '1 broken (--all reads every image)' in out and 'all good' not in out
    (tmp_path / 'train' / 'ant' / '001.png').rename(tmp_path / 'train' / 'ant' / '000.png')
    out = call('doctor', tmp_path / 'config.py', '--seconds', 0.2)
    assert 'data: 209 samples; read 8 of them (0, ' in out and 'all good' in out


def test_doctor_names_what_the_batches_meet(tmp_path, call, capsys):
    """Not one of the eight that are read first."""
    (tmp_path / 'train' / 'ant').mkdir(parents=True)
    for i in range(200):
        Image.new('RGB', (8, 8), (i, 0, 0)).save(tmp_path / 'train' / 'ant' / f'{i:03d}.png')
    (tmp_path / 'train' / 'ant' / '001.png').write_text('broken')
    (tmp_path / 'val').symlink_to('train')
    (tmp_path / 'config.py').write_text(CONFIG.format(root=tmp_path))
    with pytest.raises(DataError, match=r'1 samples cannot be read: .*/ant/001\.png'):
        call('doctor', tmp_path / 'config.py', '--seconds', 5)
    assert 'all good' not in capsys.readouterr().out


def test_doctor_all_needs_a_config(call, capsys):
    with pytest.raises(SystemExit):
        call('doctor', '--all')
    assert '--all needs a config' in capsys.readouterr().err


# --- the first images of each class


@pytest.fixture
def make(monkeypatch, capsys):
    def run(*args):
        monkeypatch.setattr(sys, 'argv', ['first_per_class', *map(str, args)])
        runpy.run_path(str(Path(__file__).parents[2] / 'tools' / 'prepare_data' / 'first_per_class.py'))['main']()
        return capsys.readouterr().out

    return run


def test_the_first_images_of_each_class(root, make, tmp_path):
    (root / 'val').rename(root / 'test')
    out = make(root, tmp_path / 'small', '--train', 3, '--test', 1)
    assert 'small/train: 9 of 12 images, 3 classes' in out and 'small/test: 3 of 12 images' in out
    copied = sorted(path.relative_to(tmp_path / 'small').as_posix() for path in (tmp_path / 'small').rglob('*.png'))
    assert copied == [f'test/{name}/0.png' for name in CLASSES] + [
        f'train/{name}/{i}.png' for name in CLASSES for i in range(3)
    ]
    assert all((tmp_path / 'small' / name).read_bytes() == (root / name).read_bytes() for name in copied)
    with warnings.catch_warnings():
        warnings.simplefilter('error', SelfSupWarning)
        assert ImageFolder(str(tmp_path / 'small' / 'train')).classes == list(CLASSES)
    with pytest.raises(DataError, match='small exists'):
        make(root, tmp_path / 'small', '--train', 1, '--test', 1)


def test_too_few_images_leave_nothing_behind(root, make, tmp_path):
    (root / 'val').rename(root / 'test')
    (root / 'test' / 'bee' / '1.png').unlink()
    with pytest.raises(DataError, match='fewer than 4 images of a class: class 1 has 3'):
        make(root, tmp_path / 'small', '--train', 4, '--test', 4)
    with pytest.raises(ConfigError, match='--train 0'):
        make(root, tmp_path / 'small', '--train', 0, '--test', 4)
    assert not list(tmp_path.glob('small*'))


def test_the_archive_gives_the_same_pixels(make, tmp_path, monkeypatch):
    write_cifar(tmp_path / 'data', 'Cifar10')
    monkeypatch.setattr('torchvision.datasets.cifar.check_integrity', lambda *args: True)
    make(tmp_path / 'data', tmp_path / 'small', '--train', 2, '--test', 1)
    names = sorted(path.relative_to(tmp_path / 'small').as_posix() for path in (tmp_path / 'small').rglob('*.png'))
    assert names == [f'test/{name}/0000.png' for name in ('ant', 'bee', 'cow')] + [
        f'train/{name}/{i:04d}.png' for name in ('ant', 'bee', 'cow') for i in range(2)
    ]
    with Image.open(tmp_path / 'small' / 'train' / 'ant' / '0001.png') as image:
        assert image.getpixel((3, 4)) == (200, 1, 1)  # of the second batch of the archive
