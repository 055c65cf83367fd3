"""kNN, linear heads on a cache, lists of subsets: the tools on tiny digits, good input and bad."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from selfsup.config import compile_config, load
from selfsup.errors import CheckpointError, ConfigError, DataError
from selfsup.evaluation.effective_rank import rankme_of_some
from selfsup.evaluation.features import extract_features
from selfsup.evaluation.knn import knn_accuracy
from selfsup.evaluation.labelled import labelled_pair
from selfsup.evaluation.results.record import read_result
from selfsup.weights.load import build_with_weights
from selfsup.weights.write import write_checkpoint_atomic
from tests.evaluation.linear_runs import write_config, write_digits


@pytest.fixture
def config(tmp_path):
    return write_config(tmp_path)


@pytest.fixture
def weights(tmp_path, config):
    """Backbone weights that differ from those of seed 0."""
    model = build_with_weights(compile_config(load(str(config)))['model'], 'random', seed=5)
    return write_checkpoint_atomic({'state_dict': model.backbone.state_dict()}, tmp_path / 'w.pth')


def test_knn_of_weights_and_of_none(tmp_path, call, config, weights):
    out = call(
        'knn', config, '--pretrained', weights, '--k', '1,5', '--work_dir', tmp_path / 'a', '--temperature', '0.1'
    )
    result = read_result(tmp_path / 'a' / 'knn.json')
    assert result['protocol'] == 'knn' and set(result['numbers']) == {'knn_1', 'knn_5', 'rankme_n100'}
    assert result['settings'] == {
        'temperature': 0.1,
        'train_images': 100,
        'test_images': 60,
        'left_out': {'train': 0, 'test': 0},
        'dataset_config': None,
        'cfg_options': [],
    }
    assert result['weights']['path'] == str(weights) and f'knn_5: {result["numbers"]["knn_5"]:.2f}' in out
    call('knn', config, '--pretrained', 'random', '--k', '1,5', '--work_dir', tmp_path / 'b')
    assert read_result(tmp_path / 'b' / 'knn.json')['weights'] is None
    compiled = compile_config(load(str(config)))
    from selfsup.registry import DATASETS

    model = build_with_weights(compiled['model'], str(weights))
    sets = [DATASETS.build(section['dataset']) for section in labelled_pair(compiled)]
    batches = [torch.utils.data.DataLoader(s, batch_size=200) for s in sets]
    found = [part for loader in batches for part in extract_features(model, loader)]
    expected = knn_accuracy(*found, k=[1, 5], temperature=0.1)
    measured = {f'knn_{k}': v for k, v in expected.items()}
    assert result['numbers'] == pytest.approx({**measured, **rankme_of_some(found[0])})


def test_knn_takes_a_whole_checkpoint(tmp_path, call, config):
    model = build_with_weights(compile_config(load(str(config)))['model'], 'random', seed=5)
    whole = write_checkpoint_atomic({'state_dict': model.state_dict()}, tmp_path / 'epoch_1.pth')
    call('knn', config, '--checkpoint', whole, '--k', '3', '--work_dir', tmp_path)
    assert set(read_result(tmp_path / 'knn.json')['numbers']) == {'knn_3', 'rankme_n100'}


def test_knn_reads_other_images_from_a_file(tmp_path, call, config):
    other = write_digits(tmp_path / 'other', 200, 30)
    data = tmp_path / 'data.py'
    text = (
        "{name} = dict(type='ClassificationDataset', data_source=dict(type='ImageFolder', root={root!r}), "
        "pipeline=[dict(type='ToTensor')])\n"
    )
    data.write_text(text.format(name='train', root=str(other)) + text.format(name='test', root=str(other)))
    call('knn', config, '--pretrained', 'random', '--k', '1', '--dataset-config', data, '--work_dir', tmp_path)
    result = read_result(tmp_path / 'knn.json')
    # Each image is its own neighbour.
    assert result['settings']['train_images'] == 30 and result['numbers']['knn_1'] == 100


def test_the_images_of_a_knn_hook_go_before_those_of_the_data(config):
    config.write_text(
        config.read_text() + "custom_hooks.append(dict(type='KNNHook', train=data['val'], test=data['train']))\n"
    )
    compiled = compile_config(load(str(config)))
    hook = compiled['custom_hooks'][-1]
    assert labelled_pair(compiled) == ({'dataset': hook['train']}, {'dataset': hook['test']})
    assert hook['train']['data_source'] == compiled['val_dataloader']['dataset']['data_source']


@pytest.mark.parametrize(
    ('args', 'error', 'message'),
    [
        (('--k', '0'), ConfigError, 'whole numbers of 1 or more'),
        (('--k', 'ten'), ConfigError, 'whole numbers of 1 or more'),
        (('--temperature', '0'), ConfigError, 'a T > 0'),
        (('--temperature', 'inf'), ConfigError, 'a T > 0'),
        (('--k', '5,101'), ConfigError, 'there are 100 training images'),
        (('--dataset-config', 'no.py'), ConfigError, r'no\.py cannot be read'),
        (('--pretrained', 'no.pth'), CheckpointError, r'no\.pth does not exist'),
    ],
)
def test_knn_refuses(tmp_path, call, config, args, error, message):
    given = args if '--pretrained' in args else ('--pretrained', 'random', *args)
    with pytest.raises(error, match=message):
        call('knn', config, *given, '--work_dir', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_result_is_not_overwritten(tmp_path, call, config):
    (tmp_path / 'knn.json').write_text('mine')
    with pytest.raises(DataError, match='give --force'):
        call('knn', config, '--pretrained', 'random', '--k', '1', '--work_dir', tmp_path)
    assert (tmp_path / 'knn.json').read_text() == 'mine'
    call('knn', config, '--pretrained', 'random', '--k', '1', '--work_dir', tmp_path, '--force')
    assert read_result(tmp_path / 'knn.json')['protocol'] == 'knn'


@pytest.mark.parametrize('tool', ['knn', 'linear_cached'])
def test_weights_of_another_architecture_are_refused(tmp_path, call, config, tool):
    foreign = write_checkpoint_atomic(
        {'state_dict': {'conv1.weight': torch.zeros(64, 3, 7, 7)}}, tmp_path / 'foreign.pth'
    )
    with pytest.raises(CheckpointError, match=r'conv1\.weight: \(64, 3, 7, 7\) in the file'):
        call(tool, config, '--pretrained', foreign, '--work_dir', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('tool', ['knn', 'linear_cached'])
def test_a_class_without_training_images_is_refused(tmp_path, call, tool):
    config = write_config(tmp_path, leave_out=4)
    with pytest.raises(DataError, match='different classes: only for training none; only for testing 4'):
        call(tool, config, '--pretrained', 'random', '--work_dir', tmp_path / 'out')
    listed = tmp_path / 'list.txt'
    files, root = sorted((tmp_path / 'train').rglob('*.png')), tmp_path / 'train'
    listed.write_text(''.join(f'{path.relative_to(root)} {path.parent.name}\n' for path in files))
    source = f"data.train.data_source=dict(type='ImageList', root='{root}', list_file='{listed}')"
    with pytest.raises(DataError, match='there is no training image: 4'):
        call(tool, config, '--pretrained', 'random', '--work_dir', tmp_path / 'out', '--cfg-options', source)
    assert not (tmp_path / 'out').exists()


def test_a_config_without_labelled_images(tmp_path, call):
    config = write_config(tmp_path)
    config.write_text(config.read_text() + 'data.pop("val")\n')
    for tool in ('knn', 'linear_cached'):
        with pytest.raises(ConfigError, match=r'no labelled images|no data\.val'):
            call(tool, config, '--pretrained', 'random', '--work_dir', tmp_path / 'out')


def test_linear_cached_trains_all_rates_and_uses_its_cache_again(tmp_path, call, config, weights):
    args = (config, '--pretrained', weights, '--lrs', '0.01,1', '--epochs', '3', '--work_dir', tmp_path / 'out')
    out = call('linear_cached', *args)
    result = read_result(tmp_path / 'out' / 'linear_cached.json')
    assert set(result['numbers']) == {f'head0_top{k}{end}' for k in (1, 5) for end in ('', '_lr0.01', '_lr1')}
    assert result['settings']['rates'] == [0.01, 1.0] and result['settings']['rate_chosen_on_the_test_set'][
        'head0'
    ] in (0.01, 1.0)
    assert (
        result['numbers']['head0_top1']
        == max(result['numbers']['head0_top1_lr0.01'], result['numbers']['head0_top1_lr1'])
        > 15
    )
    assert re.search(r'epoch 3: loss [\d.]+ \(lr 0.01\) [\d.]+ \(lr 1\)', out)
    before = (tmp_path / 'out' / 'cache' / 'train' / 'layer0.npy').stat().st_mtime_ns
    with pytest.raises(DataError, match='give --force'):
        call('linear_cached', *args)
    call('linear_cached', *args, '--force')
    assert (tmp_path / 'out' / 'cache' / 'train' / 'layer0.npy').stat().st_mtime_ns == before
    again = read_result(tmp_path / 'out' / 'linear_cached.json')
    assert again['numbers'] == result['numbers']


def test_linear_cached_follows_its_flags(tmp_path, call, config):
    args = (config, '--pretrained', 'random', '--epochs', '1', '--flip', '--work_dir', tmp_path / 'out', '--batch-size')
    call('linear_cached', *args, '50')
    assert read_result(tmp_path / 'out' / 'linear_cached.json')['settings']['batch_size'] == 50
    assert len(np.load(tmp_path / 'out' / 'cache' / 'train' / 'layer0.npy')) == 2, 'every image and its mirror image'
    with pytest.raises(DataError, match='100 samples give no batch of 1000'):
        call('linear_cached', *args, '1000', '--force', '--cfg-options', 'data.drop_last=True')
    assert read_result(tmp_path / 'out' / 'linear_cached.json')['settings']['batch_size'] == 50


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('--lrs', 'high'), "--lrs 'high'"),
        (('--lrs', '1,1'), 'different numbers'),
        (('--epochs', '0'), 'train for 1 or more'),
        (('--dtype', 'int8'), "dtype='int8'"),
        (('--views', '-1'), 'views=-1'),
        (('--batch-size', '0'), 'batch_size=0'),
        (('--lrs', '0.1,nan'), 'different numbers'),
        (('--lrs', 'inf'), 'different numbers'),
    ],
)
def test_linear_cached_refuses(tmp_path, call, config, args, message):
    with pytest.raises(ConfigError, match=message):
        call('linear_cached', config, '--pretrained', 'random', *args, '--work_dir', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_make_subset_of_a_folder_and_of_a_list(tmp_path, call):
    folder, out = write_digits(tmp_path / 'train', 0, 100), tmp_path / 'lists' / 'half.txt'
    printed = call('prepare_data/make_subset', folder, out, '--share', '0.5')
    lines = out.read_text().splitlines()
    assert f'{len(lines)} of 100 images, 10 classes' in printed
    assert all((folder / name).is_file() and name.split('/')[0] == label for name, label in map(str.split, lines))
    with pytest.raises(DataError, match='give --force'):
        call('prepare_data/make_subset', folder, out, '--share', '0.1')
    assert out.read_text().splitlines() == lines
    every = tmp_path / 'every.txt'
    call('prepare_data/make_subset', folder, every, '--share', '1')
    with pytest.raises(DataError, match='is the list to choose from'):
        call(
            'prepare_data/make_subset',
            every,
            tmp_path / 'lists' / '..' / 'every.txt',
            '--root',
            folder,
            '--share',
            '0.5',
            '--force',
        )
    call('prepare_data/make_subset', every, tmp_path / 'again.txt', '--root', folder, '--share', '0.5')
    assert (tmp_path / 'again.txt').read_text().splitlines() == lines


def test_make_subset_refuses_lists_that_do_not_fit(tmp_path, call):
    folder = write_digits(tmp_path / 'train', 0, 40)
    for lines, message in (
        (['0/0000.png 0', '2/0002.png 2'], 'No sample has the class 1'),
        (['x/y.png 0'], 'does not hold the images'),
        (['0/0000.png 0', '1/0001.png'], 'has no label'),
        (['0/0000.png', '1/0001.png'], 'has no labels'),
    ):
        (tmp_path / 'list.txt').write_text('\n'.join(lines) + '\n')
        with pytest.raises(DataError, match=message):
            call(
                'prepare_data/make_subset',
                tmp_path / 'list.txt',
                tmp_path / 'out.txt',
                '--root',
                folder,
                '--share',
                '0.5',
            )
    with pytest.raises(ConfigError, match='give --root'):
        call('prepare_data/make_subset', tmp_path / 'list.txt', tmp_path / 'out.txt', '--share', '0.5')
    assert not (tmp_path / 'out.txt').exists()


def test_report_prints_tables_of_work_dirs(tmp_path, call, config):
    call('knn', config, '--pretrained', 'random', '--k', '1', '--work_dir', tmp_path / 'runs' / 'a')
    (tmp_path / 'runs' / 'a' / 'environment.json').write_text('{}')
    out = call('report', '--results', tmp_path / 'runs', '--print')
    assert out.startswith('### KNN') and '| a/knn.json |' in out
    with pytest.raises(DataError, match='holds no results'):
        call('report', '--results', tmp_path / 'nothing', '--print')


def test_images_of_the_command_line(tmp_path, call, config):
    """kNN and cached linear classification on images that an address names."""
    other = f'folder:{write_digits(tmp_path / "other", 200, 30)}'
    call(
        'knn',
        config,
        '--pretrained',
        'random',
        '--k',
        '1',
        '--train-data',
        other,
        '--test-data',
        other,
        '--work_dir',
        tmp_path,
    )
    result = read_result(tmp_path / 'knn.json')
    assert result['settings']['train_images'] == 30 and result['numbers']['knn_1'] == 100
    assert result['settings']['test_data'] == other
    with pytest.raises(ConfigError, match=r"'foldr:' of 'foldr:x' is no kind of address. Did you mean 'folder'"):
        call(
            'knn',
            config,
            '--pretrained',
            'random',
            '--k',
            '1',
            '--train-data',
            'foldr:x',
            '--work_dir',
            tmp_path / 'out',
        )
