"""Which checkpoint is the newest, which files a run removes: decided by what was recorded, not by names and times."""

import json
import os
import shutil

import pytest
import torch

from selfsup.engine.resume.checkpoint import newest_loadable
from selfsup.engine.resume.lineage import RECORD, peek
from selfsup.errors import CheckpointError
from tests.resume.runs import differences, train, write_config


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp('config'))


@pytest.fixture(scope='module')
def straight(config, tmp_path_factory):
    """Seven epochs without a stop."""
    return run(config, tmp_path_factory.mktemp('straight') / 'work', 7)


def run(config, work_dir, epochs, *options, **start):
    """With a constant learning rate, so that a run of another length passes through the same weights."""
    return train(config, work_dir, 'lr_config=None', f'total_epochs={epochs}', *options, curves=False, **start)


def names(folder, pattern='*.pth'):
    return sorted(path.name for path in folder.glob(pattern))


def latest(work_dir):
    return (work_dir / 'latest.pth').resolve(strict=True).name


def strip(path):
    """The file as a version without lines of descent wrote it."""
    content = torch.load(path, weights_only=True)
    del content['meta']['branch']
    torch.save(content, path)


def bare(source, path):
    torch.save({'state_dict': torch.load(source, weights_only=True)['state_dict']}, path)


def truncate(path):
    path.write_bytes(path.read_bytes()[:2000])


def used(config, folder, epochs=6):
    """A work dir with all its checkpoints, and a copy of the second one elsewhere."""
    work_dir = run(config, folder / 'work', epochs)
    return work_dir, shutil.copy(work_dir / 'epoch_2.pth', folder / 'old.pth')


def test_an_older_checkpoint_resumed_in_a_used_work_dir(config, straight, tmp_path, said):
    """Its files used to be deleted as soon as they were written, because others had higher numbers."""
    work_dir, old = used(config, tmp_path)
    for number in (1, 2, 3, 4):
        (work_dir / f'epoch_{number}.pth').unlink()
    run(config, work_dir, 4, 'checkpoint_config.max_keep_ckpts=2', resume_from=str(old))
    assert names(work_dir) == ['epoch_3.pth', 'epoch_4.pth', 'latest.pth'] and latest(work_dir) == 'epoch_4.pth'
    (aside,) = work_dir.glob('aside_*')
    assert names(aside) == ['epoch_5.pth', 'epoch_6.pth']
    assert f'Set aside in {aside}, as {old} was not trained on from them: epoch_5.pth, epoch_6.pth.' in said.messages
    assert newest_loadable(work_dir) == work_dir / 'epoch_4.pth'
    run(config, work_dir, 7, 'checkpoint_config.max_keep_ckpts=2', auto_resume=True)
    assert names(work_dir) == ['epoch_6.pth', 'epoch_7.pth', 'latest.pth']
    assert differences(straight / 'epoch_7.pth', work_dir / 'epoch_7.pth') == []


@pytest.mark.parametrize('moment', ['before its first save', 'after one save'])
def test_a_new_line_that_was_stopped_is_followed(moment, config, tmp_path):
    """Where the files that it leaves aside are put back by hand as well: the record says which line counts."""
    work_dir, old = used(config, tmp_path)
    run(config, work_dir, 6, resume_from=str(old), stop_after=13 if moment.startswith('before') else 19)
    (aside,) = work_dir.glob('aside_*')
    for path in aside.glob('*.pth'):
        if not (work_dir / path.name).exists():
            shutil.copy2(path, work_dir / path.name)
    newest = newest_loadable(work_dir)
    assert newest.name == ('epoch_2.pth' if moment.startswith('before') else 'epoch_3.pth')
    assert peek(newest)[0].iteration == (12 if moment.startswith('before') else 18)


def test_a_resume_from_elsewhere_that_was_stopped_before_its_first_save(config, tmp_path):
    work_dir, old = used(config, tmp_path, epochs=3)
    for path in work_dir.glob('epoch_*.pth'):
        path.unlink()
    run(config, work_dir, 3, resume_from=str(old), stop_after=13)
    assert newest_loadable(work_dir) == tmp_path / 'old.pth'
    (tmp_path / 'old.pth').unlink()
    assert newest_loadable(work_dir) is None


def test_a_refused_resume_moves_nothing(config, tmp_path):
    work_dir, old = used(config, tmp_path)
    before, record = names(work_dir), (work_dir / RECORD).read_text()
    with pytest.raises(CheckpointError, match='Cannot resume'):
        run(config, work_dir, 6, resume_from=str(old), seed=5)
    truncate(tmp_path / 'old.pth')
    with pytest.raises(CheckpointError, match='cut off'):
        run(config, work_dir, 6, resume_from=str(old))
    assert (
        names(work_dir) == before and not list(work_dir.glob('aside_*')) and (work_dir / RECORD).read_text() == record
    )
    assert newest_loadable(work_dir) == work_dir / 'epoch_6.pth'


def test_an_abandoned_line_can_be_taken_up_again(config, straight, tmp_path):
    work_dir, old = used(config, tmp_path, epochs=4)
    run(config, work_dir, 3, resume_from=str(old))
    (aside,) = work_dir.glob('aside_*')
    run(config, work_dir, 7, resume_from=str(aside / 'epoch_4.pth'))
    assert differences(straight / 'epoch_7.pth', work_dir / 'epoch_7.pth') == []
    # Its third epoch is not that of the other line.
    assert names(work_dir) == [f'epoch_{n}.pth' for n in (1, 2, 5, 6, 7)] + ['latest.pth']


def test_epochs_and_iterations_mixed_and_clocks_set_back(config, tmp_path):
    """An epoch's file is the newest although files of iterations have higher numbers and later times; and the other way round."""
    hook = "custom_hooks=[dict(type='CheckpointHook', by_epoch=False, interval=4, save_last=False)]"
    work_dir = run(config, tmp_path / 'work', 3, hook)  # saves at 4, 6, 8, 12 (twice), 16, 18
    assert newest_loadable(work_dir) == work_dir / 'epoch_3.pth'
    for age, path in enumerate(sorted(work_dir.glob('*_*.pth'), key=lambda p: peek(p)[0].iteration)):
        os.utime(path, (10**9 - 1000 * age,) * 2)  # the newest file has the earliest time
    for lost in (None, RECORD):
        if lost:
            (work_dir / lost).unlink()
        assert newest_loadable(work_dir) == work_dir / 'epoch_3.pth'
    (work_dir / 'epoch_3.pth').unlink()
    assert newest_loadable(work_dir) == work_dir / 'iter_16.pth'


def test_bare_weights_with_the_name_of_a_checkpoint(config, straight, tmp_path, said):
    """They are passed over, said, never deleted, never overwritten and never resumed."""
    work_dir = tmp_path / 'work'
    work_dir.mkdir()
    bare(straight / 'epoch_7.pth', work_dir / 'epoch_3.pth')
    bare(straight / 'epoch_7.pth', work_dir / 'epoch_9.pth')
    content = (work_dir / 'epoch_9.pth').read_bytes()
    keep = 'checkpoint_config.max_keep_ckpts=1'
    run(config, work_dir, 2, keep)  # they make it no used work dir
    assert 'epoch_9.pth holds weights but no training state' in said.text
    run(config, work_dir, 4, keep, auto_resume=True)
    assert names(work_dir) == ['epoch_4.pth', 'epoch_9.pth', 'latest.pth'] and latest(work_dir) == 'epoch_4.pth'
    assert (work_dir / 'epoch_9.pth').read_bytes() == content
    (moved,) = work_dir.glob('aside_*/epoch_3.pth')
    assert (
        moved.read_bytes()
        and 'epoch_3.pth was not written by this run and stood where it writes: moved to' in said.text
    )
    assert differences(straight / 'epoch_4.pth', work_dir / 'epoch_4.pth') == []


def test_bare_weights_copied_over_a_recorded_file_stay(config, straight, tmp_path):
    work_dir = run(config, tmp_path / 'work', 2)
    bare(straight / 'epoch_7.pth', work_dir / 'epoch_1.pth')
    content = (work_dir / 'epoch_1.pth').read_bytes()
    run(config, work_dir, 4, 'checkpoint_config.max_keep_ckpts=1', auto_resume=True)
    assert (work_dir / 'epoch_1.pth').read_bytes() == content
    assert names(work_dir) == ['epoch_1.pth', 'epoch_4.pth', 'latest.pth']


@pytest.mark.parametrize('record', ['lost', 'cut off', 'changed', 'no JSON', 'of another run', 'stale', 'a folder'])
def test_a_record_that_does_not_help(record, config, straight, tmp_path, said):
    """The files say enough: also after a kill between the write of a checkpoint and that of the record."""
    work_dir = run(config, tmp_path / 'work', 2)
    path = work_dir / RECORD
    stale = path.read_text()
    run(config, work_dir, 4, auto_resume=True)
    text = path.read_text()
    path.unlink()
    if record == 'a folder':
        path.mkdir()
    elif record != 'lost':
        other = (straight / RECORD).read_text()
        path.write_text(
            {
                'cut off': text[:100],
                'changed': text.replace('epoch_4', 'epoch_2'),
                'no JSON': '\0' * 40,
                'stale': stale,
                'of another run': other,
            }[record]
        )
    said.messages.clear()
    assert newest_loadable(work_dir) == work_dir / 'epoch_4.pth'
    expected = {'of another run': 'speaks of other checkpoints', 'lost': '', 'stale': ''}.get(
        record, 'cannot be read or was changed'
    )
    assert expected in said.text and (expected or not said.messages)


def test_a_copied_work_dir_goes_its_own_way(config, straight, tmp_path):
    work_dir, _ = used(config, tmp_path, epochs=2)
    copy = tmp_path / 'elsewhere' / 'copy'
    shutil.copytree(work_dir, copy, symlinks=True)
    run(config, work_dir, 3, auto_resume=True)
    shutil.rmtree(work_dir)
    run(config, copy, 7, 'checkpoint_config.max_keep_ckpts=1', auto_resume=True)
    assert names(copy) == ['epoch_7.pth', 'latest.pth']
    assert differences(straight / 'epoch_7.pth', copy / 'epoch_7.pth') == []


def test_a_checkpoint_of_another_run_copied_into_the_work_dir(config, straight, tmp_path, said):
    work_dir = run(config, tmp_path / 'work', 2)
    shutil.copy(straight / 'epoch_7.pth', work_dir)
    assert newest_loadable(work_dir) == work_dir / 'epoch_2.pth'
    assert 'Passed over, as the run in' in said.text and 'does not follow them: epoch_7.pth' in said.text
    run(config, work_dir, 3, 'checkpoint_config.max_keep_ckpts=1', auto_resume=True)
    assert names(work_dir, 'aside_*/*') == ['epoch_7.pth']


def test_work_dirs_from_before_there_were_lines(config, straight, tmp_path):
    """The highest number counts, files of epochs and iterations compared by what they hold; no such file is ever removed."""
    work_dir, old = used(config, tmp_path, epochs=4)
    for path in (*work_dir.glob('epoch_*.pth'), tmp_path / 'old.pth'):
        strip(path)
    (work_dir / RECORD).unlink()
    with pytest.raises(CheckpointError, match=r'holds checkpoints of an earlier run \(newest: epoch_4.pth\)'):
        run(config, work_dir, 5)
    assert newest_loadable(work_dir) == work_dir / 'epoch_4.pth'
    run(config, work_dir, 5, 'checkpoint_config.max_keep_ckpts=1', auto_resume=True)
    assert names(work_dir) == [f'epoch_{n}.pth' for n in (1, 2, 3, 4, 5)] + ['latest.pth']
    run(config, work_dir, 3, 'checkpoint_config.max_keep_ckpts=1', resume_from=str(old))
    assert names(work_dir) == [f'epoch_{n}.pth' for n in (1, 2, 3)] + ['latest.pth']
    assert names(work_dir, 'aside_*/*') == ['epoch_3.pth', 'epoch_4.pth', 'epoch_5.pth']
    run(config, work_dir, 7, 'checkpoint_config.max_keep_ckpts=1', auto_resume=True)
    assert names(work_dir) == [f'epoch_{n}.pth' for n in (1, 2, 7)] + ['latest.pth']
    assert differences(straight / 'epoch_7.pth', work_dir / 'epoch_7.pth') == []


def test_a_damaged_newest_file_gives_way_to_the_one_before(config, straight, tmp_path, said):
    work_dir = run(config, tmp_path / 'work', 4)
    truncate(work_dir / 'epoch_4.pth')
    run(config, work_dir, 7, 'checkpoint_config.max_keep_ckpts=1', auto_resume=True)
    assert 'Passed over: ' in said.text and 'cut off' in said.text
    assert differences(straight / 'epoch_7.pth', work_dir / 'epoch_7.pth') == []
    assert names(work_dir, 'aside_*/*') == ['epoch_4.pth']


def test_damage_never_leads_to_another_line(config, straight, tmp_path):
    """With nothing of its own left to read, a run does not go on from a file that it does not follow."""
    work_dir = run(config, tmp_path / 'work', 2, 'checkpoint_config.max_keep_ckpts=1')
    shutil.copy(straight / 'epoch_7.pth', work_dir)
    truncate(work_dir / 'epoch_2.pth')
    with pytest.raises(CheckpointError, match=r'None of the 1 checkpoints in .* can be read: .*epoch_2.pth'):
        run(config, work_dir, 3, auto_resume=True)


def test_two_runs_started_over_in_one_second(config, tmp_path, monkeypatch):
    monkeypatch.setattr('time.strftime', lambda *_: 'previous_20260101_000000')
    work_dir = run(config, tmp_path / 'work', 1)
    for _ in range(2):
        run(config, work_dir, 1, start_over=True)
    assert names(work_dir, 'previous_*/*.pth') == ['epoch_1.pth', 'epoch_1.pth', 'latest.pth', 'latest.pth']
    assert len(json.loads((work_dir / RECORD).read_text())['files']) == 1


def test_latest_that_cannot_be_linked(config, tmp_path, said):
    """A folder of that name."""
    work_dir = tmp_path / 'work'
    (work_dir / 'latest.pth').mkdir(parents=True)
    run(config, work_dir, 3)
    assert names(work_dir, 'epoch_*') == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth'] and not list(
        work_dir.glob('.*.tmp')
    )
    assert said.text.count('latest.pth could not be made a link to epoch_1.pth: Is a directory') == 1
    assert said.text.count('could not be made a link') == 1
    assert newest_loadable(work_dir) == work_dir / 'epoch_3.pth'


def test_a_file_system_without_links(config, tmp_path, said, monkeypatch):
    """The link that was made elsewhere must not stay behind and point at a file that is removed."""
    work_dir = run(config, tmp_path / 'work', 1, 'checkpoint_config.max_keep_ckpts=1')

    def refuse(*_, **__):
        raise OSError(1, 'Operation not permitted')

    monkeypatch.setattr(os, 'symlink', refuse)
    run(config, work_dir, 3, 'checkpoint_config.max_keep_ckpts=1', auto_resume=True)
    assert names(work_dir) == ['epoch_3.pth']
    assert said.text.count('could not be made a link') == 1
    assert newest_loadable(work_dir) == work_dir / 'epoch_3.pth'


class Full:
    """A disk that takes no checkpoint into `folders` while `full`."""

    def __init__(self, monkeypatch, *folders):
        import selfsup.engine.resume.branch as branch

        self.full, real = True, branch.write_checkpoint_atomic

        def write(checkpoint, path, save=None):
            if self.full and any(path.is_relative_to(folder) for folder in folders):
                raise CheckpointError(f'{path} could not be written: No space left on device.')
            return real(checkpoint, path, save)

        monkeypatch.setattr(branch, 'write_checkpoint_atomic', write)


def test_checkpoints_go_elsewhere_when_the_work_dir_is_full(config, straight, tmp_path, said, monkeypatch):
    work_dir = run(config, tmp_path / 'work', 2, 'checkpoint_config.max_keep_ckpts=1')
    disk, spare = Full(monkeypatch, work_dir), {'emergency_dir': str(tmp_path / 'spare')}
    run(config, work_dir, 4, 'checkpoint_config.max_keep_ckpts=1', auto_resume=True, **spare)
    (folder,) = (tmp_path / 'spare').iterdir()
    assert (
        names(folder) == ['epoch_4.pth']
        and names(work_dir) == ['epoch_2.pth', 'latest.pth']
        and latest(work_dir) == 'epoch_2.pth'
    )
    assert f'No space left on device. Saved in {folder / "epoch_3.pth"} instead; the run goes on.' in said.text
    assert newest_loadable(work_dir) == folder / 'epoch_4.pth'  # the record knows it
    (work_dir / RECORD).unlink()
    assert newest_loadable(work_dir) == work_dir / 'epoch_2.pth'
    assert newest_loadable(work_dir, spare['emergency_dir']) == folder / 'epoch_4.pth'
    disk.full = False
    run(config, work_dir, 7, 'checkpoint_config.max_keep_ckpts=1', auto_resume=True, **spare)
    assert differences(straight / 'epoch_7.pth', work_dir / 'epoch_7.pth') == []
    assert names(work_dir) == ['epoch_7.pth', 'latest.pth']


def test_two_full_disks_are_one_error(config, tmp_path, monkeypatch):
    Full(monkeypatch, tmp_path)
    with pytest.raises(
        CheckpointError, match=r'work/epoch_1.pth could not be written.*Nor in the emergency folder: .*spare'
    ):
        run(config, tmp_path / 'work', 1, emergency_dir=str(tmp_path / 'spare'))


def test_an_emergency_folder_that_cannot_be_used(config, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(CheckpointError, match=r'--emergency_dir .*file cannot be used: Not a directory'):
        run(config, tmp_path / 'work', 1, emergency_dir=str(tmp_path / 'file'))


def test_a_record_that_cannot_be_written(config, straight, tmp_path, said):
    """Said once; the checkpoints are saved and found. Only a new line in a used work dir needs it."""
    work_dir = tmp_path / 'work'
    (work_dir / RECORD / 'inside').mkdir(parents=True)
    run(config, work_dir, 2, 'checkpoint_config.max_keep_ckpts=1')
    run(config, work_dir, 4, 'checkpoint_config.max_keep_ckpts=1', auto_resume=True)
    assert said.text.count('the newest checkpoint without this list') == 2  # once a run
    assert differences(straight / 'epoch_4.pth', work_dir / 'epoch_4.pth') == [] and names(work_dir) == [
        'epoch_4.pth',
        'latest.pth',
    ]
    with pytest.raises(CheckpointError, match=f'{RECORD} could not be written'):
        run(config, work_dir, 5, resume_from=str(straight / 'epoch_2.pth'))
    assert names(work_dir) == ['epoch_4.pth', 'latest.pth']
