"""Hooks that were written for mmengine, its own and a user's, run as they are."""

import mmengine.hooks as stock
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, print_log

from selfsup.errors import CheckpointError, ConfigError
from selfsup.registry import HOOKS
from tests.resume.runs import differences, train, write_config

DIGITS = {
    'type': 'ClassificationDataset',
    'data_source': {'type': 'Digits', 'split': 'test', 'size': 8},
    'pipeline': [{'type': 'ToTensor'}],
}
KNN = {'type': 'KNNHook', 'k': [1], 'imgs_per_gpu': 64, 'initial': False, 'train': DIGITS, 'test': DIGITS}


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp('config'))


@pytest.fixture(scope='module', autouse=True)
def average_of_mmengine():
    """mmengine's EMAHook under a name of its own: the plain one is ours."""
    HOOKS.register_module(name='MMEngineEMA', module=stock.EMAHook, force=True)


def run(config, folder, *hooks, **kwargs):
    return train(config, folder, f'custom_hooks={list(hooks)!r}', curves=False, **kwargs)


def log_of(work_dir):
    return '\n'.join(path.read_text() for path in sorted(work_dir.glob('*/*.log')))


@pytest.mark.parametrize(
    'hook',
    [
        {'type': 'EmptyCacheHook', 'before_epoch': True, 'after_iter': True},
        {'type': 'SyncBuffersHook'},
        {'type': 'IterTimerHook'},
        {'type': 'DistSamplerSeedHook'},
    ],
    ids=lambda hook: hook['type'],
)
def test_a_hook_that_changes_nothing(config, tmp_path, hook):
    plain, with_hook = (run(config, tmp_path / name, *hooks) for name, hooks in (('plain', ()), ('hook', (hook,))))
    assert not differences(plain / 'epoch_3.pth', with_hook / 'epoch_3.pth')


@pytest.mark.parametrize('by_epoch', [True, False])
def test_the_profiler_counts_iterations_and_writes_its_trace(config, tmp_path, by_epoch):
    trace = tmp_path / 'trace.json'
    hook = {'type': 'ProfilerHook', 'by_epoch': by_epoch, 'json_trace_path': str(trace)}
    work_dir = run(config, tmp_path / 'run', {**hook, 'profile_times': 1 if by_epoch else 2})
    assert trace.stat().st_size > 1000 and 'profiler is profiling' in log_of(work_dir)


def test_early_stopping_ends_the_run_after_a_number_that_does_not_improve(config, tmp_path):
    stop = {'type': 'EarlyStoppingHook', 'monitor': 'knn_1', 'patience': 1, 'min_delta': 200.0, 'rule': 'greater'}
    work_dir = run(config, tmp_path / 'run', KNN, stop)
    assert sorted(path.name for path in work_dir.glob('epoch_*.pth')) == ['epoch_1.pth', 'epoch_2.pth']
    assert 'the monitored metric did not improve' in log_of(work_dir)
    work_dir = run(config, tmp_path / 'other', KNN, {**stop, 'patience': 9})
    assert (work_dir / 'epoch_3.pth').exists()


def test_a_metric_that_nothing_measures_stops_nothing(config, tmp_path):
    with pytest.warns(UserWarning, match='do not include `monitor`'):
        work_dir = run(
            config, tmp_path / 'run', KNN, {'type': 'EarlyStoppingHook', 'monitor': 'nothing', 'rule': 'less'}
        )
    assert (work_dir / 'epoch_3.pth').exists()


def test_the_average_of_mmengine_is_saved_in_the_place_of_the_weights(config, tmp_path):
    plain = torch.load(run(config, tmp_path / 'plain') / 'epoch_3.pth', weights_only=True)
    averaged = torch.load(
        run(config, tmp_path / 'run', {'type': 'MMEngineEMA', 'momentum': 0.1}) / 'epoch_3.pth', weights_only=True
    )
    kept = averaged['ema_state_dict']
    assert all(torch.equal(kept[f'module.{name}'], value) for name, value in plain['state_dict'].items())
    assert any(
        not torch.equal(averaged['state_dict'][name], value)
        for name, value in plain['state_dict'].items()
        if value.is_floating_point()
    )


def test_a_run_with_the_average_of_mmengine_goes_on_exactly(config, tmp_path):
    average = {'type': 'MMEngineEMA', 'momentum': 0.1}
    straight = run(config, tmp_path / 'straight', average)
    run(config, tmp_path / 'ended', average, stop_after=9)
    resumed = run(config, tmp_path / 'resumed', average, resume_from=str(tmp_path / 'ended' / 'epoch_1.pth'))
    assert not differences(straight / 'epoch_3.pth', resumed / 'epoch_3.pth')


def test_the_average_of_mmengine_is_what_is_measured(config, tmp_path):
    seen = []

    class Look(Hook):
        priority = 'VERY_LOW'

        def before_val_epoch(self, runner):
            seen.append(next(runner.model.parameters()).detach().clone())

        def after_train_epoch(self, runner):
            seen.append(next(runner.model.parameters()).detach().clone())

    HOOKS.register_module(name='Look', module=Look, force=True)
    run(config, tmp_path / 'run', KNN, {'type': 'MMEngineEMA', 'momentum': 0.1}, {'type': 'Look'})
    assert len(seen) == 6
    assert all(not torch.equal(measured, trained) for measured, trained in zip(seen[::2], seen[1::2], strict=True))


def test_schedules_of_mmengine_are_stepped_by_its_hook(config, tmp_path):
    schedule = "param_scheduler=[{'type': 'StepLR', 'step_size': 1, 'gamma': 0.1, 'by_epoch': True}]"
    work_dir = train(config, tmp_path / 'run', 'lr_config=None', schedule, curves=False)
    (group, *_) = torch.load(work_dir / 'epoch_3.pth', weights_only=True)['optimizer']['param_groups']
    assert group['lr'] == pytest.approx(0.01 * 0.1**3)


def test_a_hook_of_a_user_finds_what_mmengine_gives_it(config, tmp_path):
    lines = []

    class Diary(Hook):
        """Touches what the hooks of mmengine's documentation touch."""

        priority = 'ABOVE_NORMAL'

        def before_run(self, runner):
            runner.logger.info('the diary begins')
            self.about = runner.cfg.pretty_text, runner.experiment_name, runner.work_dir, runner.log_dir, runner.seed

        def before_train(self, runner):
            assert runner.model_name == 'MOCO' and not runner.distributed and runner.world_size == 1
            assert runner.train_loop.max_iters == runner.max_iters == 18 and runner.max_epochs == 3
            assert runner.val_loop is None and runner.test_loop is None

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            hub = MessageHub.get_current_instance()
            assert hub is runner.message_hub and hub.get_info('iter') == runner.iter
            hub.update_scalar('train/diary', runner.iter)
            runner.visualizer.add_scalar('diary', runner.iter, step=runner.iter)
            if self.every_n_train_iters(runner, 6) and self.end_of_epoch(runner.train_dataloader, batch_idx):
                (rate,) = runner.optim_wrapper.get_lr()['lr']
                lines.append((runner.iter, rate, len(runner.param_schedulers), set(data_batch)))

        def after_train_epoch(self, runner):
            if self.is_last_train_epoch(runner):
                print_log('the diary ends', logger='current')
                assert next(runner.model.parameters()).device == runner.device

    HOOKS.register_module(name='Diary', module=Diary, force=True)
    work_dir = train(config, tmp_path / 'run', "custom_hooks=[{'type': 'Diary'}]")
    assert [line[0] for line in lines] == [5, 11, 17] and all(line[2] == 1 for line in lines)
    assert lines[0][1] == pytest.approx(0.01) and lines[0][3] == {'img'}
    log = log_of(work_dir)
    assert 'the diary begins' in log and 'the diary ends' in log and 'diary: 17' in log
    assert '"diary": 17' in next(work_dir.glob('*/vis_data/scalars.json')).read_text()


class Count(Hook):
    calls = 0

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.calls += 1


def run_with_objects(config, folder, *hooks, resume_from=None):
    from selfsup import engine
    from selfsup.config import compile_config, load

    loaded = load(str(config))
    compiled = {**compile_config(loaded), 'custom_hooks': list(hooks), 'work_dir': str(folder)}
    compiled['resume_from'] = resume_from and str(resume_from)
    engine.train(compiled, loaded)
    return folder


def test_a_hook_may_be_an_object(config, tmp_path):
    """From Python, as with mmengine; its arguments are not known, so a resumed run compares its class alone."""
    hook, resumed = Count(), Count()
    whole = run_with_objects(config, tmp_path / 'run', hook)
    again = run_with_objects(config, tmp_path / 'resumed', resumed, resume_from=whole / 'epoch_1.pth')
    assert hook.calls == 18 and resumed.calls == 12
    assert not differences(whole / 'epoch_3.pth', again / 'epoch_3.pth')
    with pytest.raises(CheckpointError, match=r'custom_hooks\.Count was .* and is not set'):
        run_with_objects(config, tmp_path / 'without', resume_from=whole / 'epoch_1.pth')


def test_a_checkpoint_of_an_earlier_version_with_an_object_goes_on(config, tmp_path):
    whole = run_with_objects(config, tmp_path / 'run', Count())
    checkpoint = torch.load(whole / 'epoch_1.pth', weights_only=True)
    checkpoint['meta']['compiled']['custom_hooks'] = [repr(Count())]  # what it said then
    torch.save(checkpoint, tmp_path / 'old.pth')
    again = run_with_objects(config, tmp_path / 'resumed', Count(), resume_from=tmp_path / 'old.pth')
    assert not differences(whole / 'epoch_3.pth', again / 'epoch_3.pth')


@pytest.mark.parametrize(
    ('hook', 'message'),
    [
        (stock.CheckpointHook(), "mmengine's CheckpointHook writes checkpoints that no run could go on from"),
        (stock.EMAHook, r'The class EMAHook stands where a hook belongs: give an object, EMAHook\(...\)'),
        (3, 'int is registered as a hook, but is none'),
    ],
    ids=['checkpoints', 'class', 'number'],
)
def test_an_object_that_cannot_be_a_hook_of_a_run_is_refused_at_the_start(config, tmp_path, hook, message):
    with pytest.raises(ConfigError, match=message):
        run_with_objects(config, tmp_path / 'run', hook)
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_stock_hooks_as_objects(config, tmp_path):
    """They change nothing here; mmengine's average is what the checkpoint holds."""
    plain = run_with_objects(config, tmp_path / 'plain')
    watching = (stock.EmptyCacheHook(), stock.SyncBuffersHook(), stock.IterTimerHook(), stock.DistSamplerSeedHook())
    profiler = stock.ProfilerHook(by_epoch=False, profile_times=1)
    watched = run_with_objects(config, tmp_path / 'watched', *watching, profiler)
    assert not differences(plain / 'epoch_3.pth', watched / 'epoch_3.pth')
    averaged = run_with_objects(config, tmp_path / 'averaged', stock.EMAHook(momentum=0.1))
    again = run_with_objects(
        config, tmp_path / 'again', stock.EMAHook(momentum=0.1), resume_from=averaged / 'epoch_1.pth'
    )
    assert not differences(averaged / 'epoch_3.pth', again / 'epoch_3.pth')
    assert differences(plain / 'epoch_3.pth', averaged / 'epoch_3.pth')
