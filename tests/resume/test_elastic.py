"""Runs that go on with another number of processes, or another batch: 4 -> 2 -> 3."""

import pytest
import torch
from mmengine.hooks import Hook

from selfsup.errors import CheckpointError, ConfigError
from selfsup.optim.sparsity import prune_rate_at
from selfsup.registry import HOOKS

from .changed_runs import EMA, SPARSE, log_of
from .elastic_runs import Job, Start, run_jobs, seen
from .runs import differences, train, write_config, write_images
from .test_matrix import BACKBONE_CONFIGS, EXACT_BACKBONES, check_close, write

IMAGES, EPOCHS = 60, 3
CHAIN = (Start(4, 3, 7), Start(2, 6, 11), Start(3, 4))  # 5 iterations an epoch: two stops in mid-epoch
COMMON = (f'total_epochs={EPOCHS}', 'optimizer.lr=0.01', 'checkpoint_config.interval=1')
LAST = f'iter_{EPOCHS * 5}.pth'
EVERY = 'checkpoint_config.by_epoch=False'


def by_epoch(rows):
    """Views of each epoch."""
    epochs = {}
    for row in rows:
        epochs.setdefault(row['epoch'], []).extend(row['views'])
    return epochs


def changed(checkpoint):
    return [(row['key'], row['old'], row['new']) for row in checkpoint['meta']['changed']]


@pytest.fixture(scope='module')
def configs(tmp_path_factory):
    """name -> config over 60 images; without batch norm and dropout but for SparK."""
    folder = tmp_path_factory.mktemp('elastic')
    images = write_images(folder / 'images', IMAGES)
    (images / 'labels.txt').write_text(''.join(f'{i:03d}.jpg {i % 5}\n' for i in range(IMAGES)))
    made = {name: write(folder, images, name, EXACT_BACKBONES['resnet18'], exact=True) for name in ('MOCO', 'ODC')}
    return {**made, 'SparK': write(folder, images, 'SparK', BACKBONE_CONFIGS['resnet18'])}


OPTIONS = {
    'MOCO': ('model.queue_len=18',),
    'ODC': (f'model.memory_bank.length={IMAGES}', 'data.sampling_replace=False'),
    'SparK': (f'custom_hooks={[{**SPARSE, "init": "erk"}, EMA, {"type": "Seen"}]}',),
}


@pytest.fixture(scope='module')
def runs(configs, tmp_path_factory):
    """Work dirs by (method, 'straight' or 'chain')."""
    folder = tmp_path_factory.mktemp('runs')
    dirs = {(name, way): folder / f'{name}-{way}' for name in OPTIONS for way in ('straight', 'chain')}
    jobs = []
    for (name, way), work_dir in dirs.items():
        starts = CHAIN if way == 'chain' else (Start(4, 3),)
        if name == 'SparK' and way == 'chain':  # and further: ten images on one process, in steps of two iterations
            starts = (*CHAIN[:2], Start(3, 4, 12), Start(1, 10, None, ('optimizer_config.update_interval=2',)))
        if (name, way) != ('SparK', 'straight'):
            jobs.append(
                Job(str(configs[name]), str(work_dir), starts, (*COMMON, *OPTIONS[name], *with_seen(configs[name])))
            )
    run_jobs(jobs, folder / 'slots', timeout=500)
    return dirs


def with_seen(config):
    from selfsup.config import load

    hooks = load(str(config)).cfg.get('custom_hooks') or []
    return () if config.stem == 'SparK' else (f'custom_hooks={[*map(dict, hooks), {"type": "Seen"}]}',)


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.parametrize('name', ['MOCO', 'ODC'])
def test_the_same_batch_ends_where_a_straight_run_ends(runs, name):
    """Without batch norm and random numbers of ranks all that differs is the order of sums: queue, bank, labels, momenta follow."""
    straight, chain = (seen(runs[name, way]) for way in ('straight', 'chain'))
    assert [row['ranks'] for row in chain] == [4] * 7 + [2] * 4 + [3] * 4 and {row['ranks'] for row in straight} == {4}
    for one, other in zip(straight, chain, strict=True):  # every iteration holds the same views of the same images
        assert (one['iter'], one['index'], one['views']) == (other['iter'], other['index'], other['views'])
        assert one['loss'] == pytest.approx(other['loss'], rel=1e-3)
    assert all(len(views) == len(set(views)) == IMAGES for views in by_epoch(chain).values())
    one, other = (torch.load(runs[name, way] / LAST, weights_only=True) for way in ('straight', 'chain'))
    for key, value in one['state_dict'].items():
        check_close(other['state_dict'][key], value, 1e-3, key)
    for number, state in one['optimizer']['state'].items():
        found = other['optimizer']['state'][number]['momentum_buffer']
        check_close(found, state['momentum_buffer'], 5e-3, f'momentum of parameter {number}')
    assert one['param_schedulers'] == other['param_schedulers'] and one['meta']['iter'] == other['meta']['iter']
    assert one['meta'].get('changed') is None and changed(other) == [
        ('world_size', '4', '2'),
        ('data.imgs_per_gpu', '3', '6'),
        ('world_size', '2', '3'),
        ('data.imgs_per_gpu', '6', '4'),
    ]


@pytest.mark.slow
@pytest.mark.dist
def test_masks_of_ranks_sparse_weights_and_another_batch(runs):
    """SparK draws its blocks by rank, on a sparse network with batch norms and an average; at last the batch changes too."""
    work_dir = runs['SparK', 'chain']
    rows = seen(work_dir)
    # 24 images of the third epoch are done after iteration 12: 36 are left, the last 3 (drop_last) of the 6 batches of 10
    assert [(row['iter'], row['ranks'], len(row['views'])) for row in rows[10:]] == [
        (10, 2, 12),
        (11, 3, 12),
        (15, 1, 10),
        (16, 1, 10),
        (17, 1, 10),
    ]
    epochs = by_epoch(rows)
    assert [len(set(views)) for views in epochs.values()] == [len(views) for views in epochs.values()] == [60, 60, 54]
    last = torch.load(work_dir / 'iter_18.pth', weights_only=True)
    assert last['meta']['iter'] == 18 and last['meta']['samples'] == IMAGES and last['ema']['steps'] == 14
    assert (
        last['sparse_training']['steps'] == 9
    )  # three a epoch: of 15 in the runs before, 12 * 3 / 5 = 7, and two more
    assert last['sparse_training']['prune_rate'] == pytest.approx(prune_rate_at(9, 9, 0.5))
    assert all(value.isfinite().all() for value in last['state_dict'].values())
    log = ''.join(path.read_text() for path in sorted(work_dir.glob('*/*.log')))
    # said by each of the three starts with another number, and once more by the two that go on from such a one
    assert log.count('not bit-equal to one that was never stopped') == 5 and 'steps per epoch       5 -> 3' in log
    assert "batch norms see other images together, and go on from the statistics of rank 0's" in log


# ---- one process: what is said, refused, and exact ----


def start(config, work_dir, *options, **how):
    return train(config, work_dir, EVERY, *options, curves=False, **how)


@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
    """A config, and a checkpoint after 8 iterations: 8 of the 24 images of the second epoch are done."""
    folder = tmp_path_factory.mktemp('stopped')
    config = write_config(folder / 'config')
    work_dir = start(config, folder / 'run', 'optimizer_config.update_interval=2', stop_after=8)
    return config, work_dir / 'iter_8.pth'


def go_on(stopped, work_dir, *options, interval=2, **how):
    config, checkpoint = stopped
    options = (f'optimizer_config.update_interval={interval}', *options)
    return start(config, work_dir, *options, resume_from=str(checkpoint), **{'elastic': True, **how})


def test_without_a_change_it_changes_nothing(stopped, tmp_path):
    plain = go_on(stopped, tmp_path / 'plain', elastic=False)
    flagged = go_on(stopped, tmp_path / 'flagged')
    assert differences(plain / 'iter_18.pth', flagged / 'iter_18.pth') == []
    assert '--elastic' not in log_of(flagged)
    first = start(stopped[0], tmp_path / 'first', 'total_epochs=1', elastic=True, auto_resume=True)  # nothing to resume
    assert (first / 'iter_6.pth').exists()


def test_it_is_named_where_it_would_help(stopped, tmp_path):
    with pytest.raises(
        CheckpointError, match=r'batch size per process was 4 and is 5 \(set data.imgs_per_gpu=4\).*--elastic'
    ):
        go_on(stopped, tmp_path / 'a', 'data.imgs_per_gpu=5', elastic=False)
    with pytest.raises(CheckpointError, match=r'update_interval was 2 and is 1 \(.*\), or give --elastic to go on'):
        go_on(stopped, tmp_path / 'b', interval=1, elastic=False)


def test_a_second_stop_is_exact_and_a_third_start_may_differ_again(stopped, tmp_path):
    """Batches of 5: 16 images are left, so 3 whole batches, iterations 1 to 3 of the 4 of an epoch. The windows begin where they do."""
    five = ('data.imgs_per_gpu=5',)
    straight = go_on(stopped, tmp_path / 'straight', *five)
    assert sorted(int(path.stem[5:]) for path in straight.glob('iter_*.pth')) == [7, 8, 10, 12]
    again = go_on(stopped, tmp_path / 'again', *five, stop_after=7)
    assert torch.load(again / 'iter_7.pth', weights_only=True)['meta']['samples'] == 18
    start(stopped[0], again, 'optimizer_config.update_interval=2', *five, auto_resume=True)
    assert differences(straight / 'iter_12.pth', again / 'iter_12.pth') == []
    log = sorted(again.glob('*/*.log'))[-1].read_text()
    assert log.count('not bit-equal') == 1 and 'From iteration 5 on this run is not bit-equal' in log
    third = go_on((stopped[0], again / 'iter_7.pth'), tmp_path / 'third', 'data.imgs_per_gpu=6', interval=1)
    meta = torch.load(third / 'iter_12.pth', weights_only=True)['meta']  # 6 of 24 were left: the last of 4 batches
    assert [row['key'] for row in meta['changed']] == 2 * ['data.imgs_per_gpu'] + ['optimizer_config.update_interval']
    assert not (third / 'iter_7.pth').exists() and (third / 'iter_8.pth').exists()


def test_a_rate_that_follows_the_batch(stopped, tmp_path):
    base = "optimizer={'type': 'AdamW', 'base_lr': 0.32, 'weight_decay': 0.01}"  # 8 images per step: 0.01
    first = start(stopped[0], tmp_path / 'first', base, 'optimizer_config.update_interval=2', stop_after=8)
    found = go_on((stopped[0], first / 'iter_8.pth'), tmp_path / 'on', base, 'data.imgs_per_gpu=6', stop_after=8)
    log = log_of(found)
    # iteration 4 + 2 = 6 of 12, of 4 an epoch: 0.015 * (1 + cos(pi / 3)) / 2 and so on
    assert 'learning rate         0.01 -> 0.015: base_lr 0.32 * images per step / 256' in log
    assert 'warm-up               5 iterations as written: 0.833 -> 1.25 epochs' in log
    rate = torch.load(found / 'iter_8.pth', weights_only=True)['optimizer']['param_groups'][0]
    assert rate['initial_lr'] == pytest.approx(0.015)
    plain = log_of(go_on(stopped, tmp_path / 'plain', 'data.imgs_per_gpu=6', stop_after=8))
    assert 'optimizer.lr=0.01 as written, for either number of images per step' in plain


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (("data.sampler={'type': 'GivenIterationSampler', 'total_iter': 6}",), 'takes the images follows from it'),
        (
            ('data.drop_last=False', 'data.train.data_source.list_file={list}'),
            'use the data set and drop_last of the first',
        ),
        (
            ('lr_config=None', "param_scheduler={'type': 'LinearLR', 'begin': 0, 'end': 12, 'by_epoch': False}"),
            "mmengine's LinearLR goes on from values in the checkpoint",
        ),
    ],
)
def test_what_cannot_follow_says_why(stopped, tmp_path, options, message):
    config, short = stopped[0], write_images(tmp_path / 'images', 23) / 'list.txt'
    options = [option.format(list=short) if '{list}' in option else option for option in options]
    before = [option for option in options if 'drop_last' not in option] + ['total_epochs=2']
    if len(before) == 2 and 'list_file' in before[0]:
        before = [*before, f'data.train.data_source.root={short.parent}']
    first = start(config, tmp_path / 'first', *before, stop_after=7)
    with pytest.raises(CheckpointError, match=message):
        go_on((config, first / 'iter_7.pth'), tmp_path / 'on', *options, *before, 'data.imgs_per_gpu=5', interval=1)


@pytest.mark.parametrize(('option', 'stays'), [('total_epochs=3', True), ('total_iters=18', False)])
def test_the_place_in_the_schedules_is_said_to_stay_where_it_does(stopped, tmp_path, option, stays):
    length = (option,) if stays else ('total_epochs=None', option)
    first = start(stopped[0], tmp_path / 'first', 'optimizer_config.update_interval=2', *length, stop_after=8)
    on = go_on((stopped[0], first / 'iter_8.pth'), tmp_path / 'on', *length, 'data.imgs_per_gpu=6', stop_after=8)
    log = log_of(on)
    assert 'masks and averages' in log and ('the place in the schedules' in log) == stays


def test_drop_last_is_compared_also_where_it_had_no_effect(stopped, tmp_path):
    """24 images are six batches of 4 either way, but not so many of 5."""
    with pytest.raises(CheckpointError, match=r'data.drop_last was True and is False \(set it back'):
        go_on(stopped, tmp_path / 'on', 'data.drop_last=False', 'data.imgs_per_gpu=7')


@pytest.mark.parametrize('samples', ['8', 8.0, True, -1])
def test_samples_that_are_no_number_of_them(stopped, tmp_path, samples):
    checkpoint = torch.load(stopped[1], weights_only=True)
    checkpoint['meta']['samples'] = samples
    torch.save(checkpoint, tmp_path / 'edited.pth')
    with pytest.raises(CheckpointError, match=r'samples in its meta is .*, not a whole number'):
        go_on((stopped[0], tmp_path / 'edited.pth'), tmp_path / 'on')


def test_a_last_batch_that_the_method_cannot_use(stopped, tmp_path):
    """Two processes' worth of 8 images are done, of 24 in batches of 5: 16 are left, and the last batch would hold one."""
    keep = ('data.drop_last=False', 'optimizer_config.update_interval=1')
    first = start(stopped[0], tmp_path / 'first', *keep, stop_after=8)
    with pytest.raises(
        ConfigError, match=r'The last batch of the epoch that goes on would hold one image per process \(16 are'
    ):
        go_on((stopped[0], first / 'iter_8.pth'), tmp_path / 'on', *keep, 'data.imgs_per_gpu=5', interval=1)


def test_the_end_of_an_epoch_of_which_nothing_is_left(stopped, tmp_path):
    """20 of 24 images of the last epoch are done, and batches of 5 take no rest: its hooks are called all the same."""

    found = []

    @HOOKS.register_module(force=True)
    class Ends(Hook):
        only_watches = True

        def __init__(self):
            found.append(self)
            self.seen = []

        def after_train_epoch(self, runner):
            self.seen.append((runner.epoch, runner.iter))

    options = ('total_epochs=2', "custom_hooks=[{'type': 'Ends'}]")
    first = start(stopped[0], tmp_path / 'first', *options, stop_after=11)
    go_on((stopped[0], first / 'iter_11.pth'), tmp_path / 'on', *options, 'data.imgs_per_gpu=5', interval=1)
    assert found[1].seen == [(1, 8)]
