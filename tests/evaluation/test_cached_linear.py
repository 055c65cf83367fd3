"""Heads trained on cached features end with the weights of a run without the cache."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from selfsup.config import compile_config, load
from selfsup.errors import ConfigError, DataError
from selfsup.evaluation.linear.cached import CachedHeads, best_rates, check_run, parse_rates
from selfsup.evaluation.linear.feature_cache import FeatureCache, cached
from selfsup.evaluation.linear.head_inputs import both_caches
from selfsup.weights.load import build_with_weights
from selfsup.weights.read import read_checkpoint
from tests.resume.runs import train

from .linear_runs import write_config, write_digits

CROP = "[dict(type='RandomResizedCrop', size=8), dict(type='RandomHorizontalFlip')]"
CPU = torch.device('cpu')


@pytest.fixture
def opened(tmp_path):
    """opened(config, **arguments of both_caches) -> model, compiled config, caches, the test set's evaluate."""

    def run(config, **arguments):
        compiled = compile_config(load(str(config)))
        model = build_with_weights(compiled['model'], 'random')
        return (
            model,
            compiled,
            *both_caches(
                model,
                compiled,
                tmp_path / 'cache',
                **{'weights': 'random', 'device': CPU, 'dtype': 'float32', **arguments},
            ),
        )

    return run


@pytest.mark.parametrize(('kind', 'augment', 'views'), [('last', '[]', 0), ('multi', '[]', 0), ('last', CROP, 2)])
def test_the_weights_are_those_of_training_without_a_cache(tmp_path, opened, kind, augment, views):
    config = write_config(tmp_path, kind, augment)
    work_dir = train(config, tmp_path / 'run', 'data.drop_last=True')
    saved = read_checkpoint(work_dir / 'latest.pth')['state_dict']
    straight = {k.removeprefix('head.'): v for k, v in saved.items() if k.startswith('head.')}
    model, compiled, features, test, accuracy = opened(config, views=views)
    heads = CachedHeads(model.head, [0.05, 0.5], compiled, features, batch_size=32, epochs=2, drop_last=True)
    for epoch in range(2):
        heads.train_epoch(epoch)
    for name, value in heads.heads[1].state_dict().items():
        torch.testing.assert_close(
            value, straight[name], rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f'{name}: {text}'
        )
    other = dict(heads.heads[0].named_parameters())
    assert not any(torch.allclose(other[name], straight[name], rtol=1e-3, atol=1e-4) for name in other)
    logged = {
        k: v
        for line in next(work_dir.rglob('vis_data/2*.json')).read_text().splitlines()
        for k, v in json.loads(line).items()
        if k.startswith('head')
    }
    assert heads.evaluate(test, accuracy)[1] == pytest.approx(logged, abs=1e-3)


def test_a_rate_that_diverges_leaves_the_others_alone(tmp_path, opened):
    config = write_config(tmp_path)
    model, compiled, features, test, accuracy = opened(config)
    results = []
    for rates in ([0.5], [0.5, 1e30]):
        heads = CachedHeads(model.head, rates, compiled, features, batch_size=32, epochs=1)
        heads.train_epoch(0)
        results.append(heads.evaluate(test, accuracy))
    assert results[0][0] == results[1][0]
    assert best_rates(results[1], [0.5, 1e30])[1] == {'head0': 0.5}


def test_flip_doubles_the_draws(tmp_path, opened):
    *_, features, test, _ = opened(write_config(tmp_path), flip=True)
    assert features.views == 2 and test.views == 1 and len(features) == 100
    first, mirrored = (features.rows(view, slice(None), CPU)[0] for view in range(2))
    assert not torch.equal(first, mirrored)


def test_a_cache_is_used_again_and_one_of_other_features_is_kept(tmp_path, opened, monkeypatch):
    config = write_config(tmp_path)
    opened(config)
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / 'cache').glob('*/*')}
    opened(config)
    with pytest.raises(DataError, match=r'cache.train exists and holds other dtype; give --force'):
        opened(config, dtype='float16')
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / 'cache').glob('*/*')} == files
    *_, features, _, _ = opened(config, dtype='float16', force=True)
    assert str(features.layers[0].dtype) == 'float16'
    (tmp_path / 'cache' / 'train' / 'cache.json').unlink()
    with pytest.raises(DataError, match='holds no complete cache'):
        opened(config, dtype='float16')


@pytest.mark.parametrize(
    ('arguments', 'differing'),
    [
        ({'weights': 'other.pth'}, 'weights'),
        ({'flip': True}, 'flip'),
        ({'views': 2}, 'views'),
    ],
)
def test_a_cache_of_other_features_is_not_used(tmp_path, opened, arguments, differing):
    (tmp_path / 'other.pth').write_bytes(b'other')
    config = write_config(tmp_path)
    opened(config)
    given = {**arguments, **({'weights': tmp_path / 'other.pth'} if 'weights' in arguments else {})}
    with pytest.raises(DataError, match=rf'cache.train exists and holds other {differing}(,|;)'):
        opened(config, **given)


def test_a_cache_of_another_seed_or_pooling_is_not_used(tmp_path, opened):
    config, weights = write_config(tmp_path, augment=CROP), tmp_path / 'w.pth'
    weights.write_bytes(b'weights')
    opened(config, views=1, weights=weights)
    opened(config, views=1, weights=weights)
    with pytest.raises(DataError, match='holds other seed;'):
        opened(config, views=1, weights=weights, seed=1)
    config.write_text(
        config.read_text().replace('with_avg_pool=True, in_channels=32', 'with_avg_pool=False, in_channels=32')
    )
    with pytest.raises(DataError, match='holds other head;'):
        opened(config, views=1, weights=weights)


def test_an_evaluation_between_epochs_changes_nothing(tmp_path, opened):
    model, compiled, features, test, accuracy = opened(write_config(tmp_path, 'multi'))
    found = []
    for between in (False, True):
        heads = CachedHeads(model.head, [0.1], compiled, features, batch_size=32, epochs=2)
        heads.train_epoch(0)
        if between:
            heads.evaluate(test, accuracy)
        found.append(heads.train_epoch(1))
    assert found[0] == found[1]


def test_a_cache_of_a_list_that_has_changed_is_not_used(tmp_path, opened):
    config = write_config(tmp_path)
    opened(config)
    next((tmp_path / 'train' / '3').iterdir()).unlink()
    with pytest.raises(DataError, match='holds other images'):
        opened(config)


def test_a_killed_extraction_leaves_no_cache(tmp_path):
    class Broken:
        def __iter__(self):
            raise KeyboardInterrupt

        dataset, sampler = range(3), range(3)

    from selfsup.evaluation.linear.feature_cache import Draw

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path / 'c', {}, [Draw(Broken, lambda img: [img])])
    assert not (tmp_path / 'c').exists()


def test_features_that_float16_cannot_hold(tmp_path, opened, monkeypatch):
    from selfsup.models.heads.cls import ClsHead

    pool = ClsHead.pool
    monkeypatch.setattr(ClsHead, 'pool', lambda self, maps: [1e6 + x for x in pool(self, maps)])
    with pytest.raises(DataError, match='use --dtype float32'):
        opened(write_config(tmp_path), dtype='float16')


def test_a_disk_that_is_too_small(tmp_path, opened, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(DataError, match=r'bytes are needed for layer0\.npy alone, 0 are free'):
        opened(write_config(tmp_path))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['optimizer_config=dict(grad_clip=dict(max_norm=1.))'], 'no grad_clip'),
        (['optimizer_config=dict(update_interval=2)'], 'no update_interval'),
        (['weight_decay_config=dict(end=0.1)'], 'no schedules other than lr_config'),
        (['total_epochs=None', 'total_iters=5'], 'no total_iters'),
        (['data.sampling_replace=True'], 'no sampler but'),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        check_run(compile_config(load(str(write_config(tmp_path)), options)), [0.1])


@pytest.mark.parametrize('rates', [[], [0.1, 0.1], [-1.0]])
def test_rates_are_different_and_positive(tmp_path, rates):
    with pytest.raises(ConfigError, match='one or more different numbers > 0'):
        check_run(compile_config(load(str(write_config(tmp_path)))), rates)


def test_rates_come_from_the_text_or_the_config(tmp_path):
    compiled = compile_config(load(str(write_config(tmp_path))))
    assert parse_rates('0.1,30', compiled) == [0.1, 30.0] and parse_rates(None, compiled) == [0.5]
    del compiled['optim_wrapper']['optimizer']['lr']
    with pytest.raises(ConfigError, match='give --lrs'):
        parse_rates(None, compiled)


def test_the_best_rate_is_that_of_top1():
    numbers, chosen = best_rates(
        [{'head0_top1': 10.0, 'head0_top5': 90.0}, {'head0_top1': 20.0, 'head0_top5': 80.0}], [0.1, 1]
    )
    assert numbers == {
        'head0_top1': 20.0,
        'head0_top5': 80.0,
        'head0_top1_lr0.1': 10.0,
        'head0_top1_lr1': 20.0,
        'head0_top5_lr0.1': 90.0,
        'head0_top5_lr1': 80.0,
    }
    assert chosen == {'head0': 1}


def test_a_cache_holds_its_rows_in_the_order_of_the_data(tmp_path, opened):
    model, compiled, *_ = opened(write_config(tmp_path))
    cache = FeatureCache(tmp_path / 'cache' / 'train')
    from selfsup.registry import DATASETS

    dataset = DATASETS.build(compiled['train_dataloader']['dataset'])
    sample = dataset[17]
    model.eval()
    with torch.no_grad():
        expected = model.head.pool(model.extract(sample['img'][None]))[0]
    torch.testing.assert_close(cache.rows(0, slice(17, 18), CPU)[0], expected)
    assert cache.labels[17] == sample['gt_label']


def test_a_folder_that_is_no_cache_is_never_removed(tmp_path, opened):
    config = write_config(tmp_path)
    (tmp_path / 'cache').symlink_to(tmp_path, target_is_directory=True)  # cache/train are the images
    for name in ('a.txt', 'cache.json'):
        (tmp_path / 'train' / name).write_text('[1]')
        with pytest.raises(
            DataError,
            match=r"cache.train holds files that are none of a cache \('.*'\), so --force does not replace it",
        ):
            opened(config, force=True)
        (tmp_path / 'train' / name).unlink()
    assert len(list((tmp_path / 'train').rglob('*.png'))) == 100


HOLDER = """
import sys, time
from selfsup.errors import DataError
from selfsup.files import only_process
with only_process(sys.argv[1], 'busy', DataError):
    print('held', flush=True)
    time.sleep(60)
"""


def test_two_processes_do_not_fill_one_cache(tmp_path, opened):
    (tmp_path / 'cache').mkdir()
    other = subprocess.Popen(
        [sys.executable, '-c', HOLDER, str(tmp_path / 'cache' / '.train.lock')], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == 'held\n'
    with pytest.raises(
        DataError, match=rf'cache.train is being filled by process {other.pid} on .*Start again when it is done'
    ):
        opened(write_config(tmp_path))
    other.kill()
    other.wait()
    assert opened(write_config(tmp_path))[2]


def test_a_cache_where_nothing_can_be_written(tmp_path, opened):
    (tmp_path / 'cache').write_text('')
    with pytest.raises(DataError, match=r'cache cannot hold a cache: .* Choose another --cache'):
        opened(write_config(tmp_path))


def test_images_that_cannot_be_read_are_neither_trained_nor_tested_on(tmp_path, opened, monkeypatch):
    """A neighbour stood in for them, with its label in the training and that of the missing image in the test."""
    config = write_config(tmp_path)
    for split, first in (('train', 300), ('test', 400)):
        write_digits(tmp_path / split, first, 60)  # enough that one file is less than 1 %
        path = sorted((tmp_path / split).rglob('*.png'))[7]
        path.write_bytes(path.read_bytes()[:60])
    *_, features, test, accuracy = opened(config)
    assert (features.left_out, test.left_out) == (1, 1)
    assert len(features) == len(features.labels) == len(list((tmp_path / 'train').rglob('*.png'))) - 1
    rows = features.rows(0, slice(5, 9), CPU)[0]
    assert torch.equal(rows, features.rows(0, torch.tensor([5, 6, 7, 8]).numpy(), CPU)[0])
    stored = torch.from_numpy(features.layers[0][0][[5, 6, 8, 9]])
    assert torch.equal(rows, stored)  # row 7 is that of a neighbour
    right = torch.nn.functional.one_hot(test.labels, 10).float()
    assert accuracy(right, 'head0') == {'head0_top1': 100.0, 'head0_top5': 100.0}
    wrong = right.clone()
    wrong[3] = wrong[3].roll(1)
    assert accuracy(wrong, 'head0')['head0_top1'] == pytest.approx(100 * (len(test) - 1) / len(test), abs=1e-4)
    monkeypatch.setattr(
        sys,
        'argv',
        ['linear_cached', str(config), '--pretrained', 'random', '--epochs', '1', '--work_dir', str(tmp_path / 'work')],
    )
    runpy.run_path(str(Path(__file__).parents[2] / 'tools' / 'linear_cached.py'))['main']()
    settings = json.loads((tmp_path / 'work' / 'linear_cached.json').read_text())['settings']
    assert settings['left_out'] == {'train': 1, 'test': 1}
    assert (
        settings['parameters']['head'] == {'trained': 330, 'frozen': 0}
        and settings['parameters']['backbone']['trained'] == 0
    )


def test_a_cache_of_an_earlier_version_is_read(tmp_path, opened):
    *_, features, _, _ = opened(write_config(tmp_path))
    (tmp_path / 'cache' / 'train' / 'unreadable.npy').unlink()
    old = FeatureCache(tmp_path / 'cache' / 'train')
    assert len(old) == len(features) and torch.equal(old.labels, features.labels) and old.left_out == 0
