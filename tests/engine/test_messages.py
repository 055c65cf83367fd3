"""A run leaves loggers and warnings as they were, takes no warning from whoever records them, and logs each of them."""

import logging
import re
import warnings

import pytest

from selfsup.engine.logs import messages
from selfsup.errors import SelfSupWarning
from tests.resume.runs import train, write_config

IGNORED = "custom_hooks=[{'type': 'BYOLHook', 'end_momentum': 0.5, 'update_interval': 3}]"
TEXT = 'BYOLHook.update_interval=3 is ignored'


def state():
    loggers = [logging.getLogger(name) for name in ('selfsup', 'py.warnings')]
    return [(list(logger.handlers), logger.propagate, logger.level) for logger in loggers], warnings.showwarning


@pytest.fixture
def config(tmp_path):
    return write_config(tmp_path, 'BYOL')


def log_of(work_dir):
    return next(work_dir.glob('*/*.log')).read_text()


@pytest.mark.parametrize('runs_before', [0, 1, 2])
def test_warnings_are_recorded_and_logged_however_many_runs_came_before(config, tmp_path, runs_before):
    for run in range(runs_before):
        train(config, tmp_path / f'before{run}', 'total_epochs=1', curves=False)
    before = state()
    with pytest.warns(SelfSupWarning, match=TEXT):
        work_dir = train(config, tmp_path / 'work', IGNORED, 'total_epochs=1', curves=False)
    assert log_of(work_dir).count(TEXT) == 1
    assert state() == before


def test_every_warning_of_a_run_reaches_its_log(config, tmp_path):
    """Different ones each: filters of repeated messages compare what is formatted, and all warnings could have one template."""
    options = (IGNORED, 'total_epochs=1', 'lr_config.warmup_iters=50', 'lr_config.warmup=linear')
    with warnings.catch_warnings(record=True):
        warnings.simplefilter('always')
        work_dir = train(config, tmp_path / 'work', *options, curves=False)
    log = log_of(work_dir)
    assert log.count(TEXT) == 1
    assert log.count('lr_config warms up for 50 iterations') == 1


def test_a_run_alone_logs_the_warning_once_and_prints_it_once(config, tmp_path, capfd):
    with warnings.catch_warnings():  # pytest records: this is how it is without
        warnings.simplefilter('default')
        work_dir = train(config, tmp_path / 'work', IGNORED, 'total_epochs=1', curves=False)
    assert log_of(work_dir).count(TEXT) == 1
    assert capfd.readouterr().err.count(TEXT) <= 1
    logging.getLogger('selfsup').warning('after the run')
    assert 'after the run' not in log_of(work_dir)


def test_a_warning_of_a_constructor_stands_in_the_log_without_the_line_of_its_caller(config, tmp_path):
    with pytest.warns(SelfSupWarning, match=TEXT):
        work_dir = train(config, tmp_path / 'work', IGNORED, 'total_epochs=1', curves=False)
    (number,) = (i for i, line in enumerate(log_of(work_dir).splitlines()) if TEXT in line)
    line, after = log_of(work_dir).splitlines()[number : number + 2]
    assert re.fullmatch(rf'.* - py\.warnings - WARNING - SelfSupWarning: {TEXT}.*', line)
    assert ' - selfsup - INFO - ' in after


@pytest.mark.parametrize(
    'options', [("model.base_momentum='high'",), ('data.train.data_source.list_file=nowhere.txt',)]
)
def test_a_run_that_ends_with_an_error_leaves_everything_as_it_was(config, tmp_path, options):
    before = state()
    with pytest.raises(Exception):  # noqa: B017 whatever it is
        train(config, tmp_path / 'work', *options, curves=False)
    assert state() == before


def test_runs_within_a_recorder_and_recorders_within_a_run():
    handler = logging.Handler()
    taken = []
    handler.emit = lambda record: taken.append(record.getMessage())
    before = state()
    with warnings.catch_warnings(record=True) as outer:
        warnings.simplefilter('always')
        with messages.restored():
            for _ in range(2):  # a second run in a process does not double what is written
                messages.send_to([handler])
            warnings.warn('one', SelfSupWarning, stacklevel=1)
            with warnings.catch_warnings(record=True) as inner:
                warnings.simplefilter('always')
                warnings.warn('two', SelfSupWarning, stacklevel=1)
            warnings.warn('three', ConfigWarning, stacklevel=1)
    assert [str(w.message) for w in outer] == ['one', 'three'] and [str(w.message) for w in inner] == ['two']
    assert len(taken) == 2 and 'SelfSupWarning: one' in taken[0] and 'three' in taken[1]
    assert state() == before


class ConfigWarning(UserWarning):
    """One of another kind."""
