"""The backend of the pipelines and the image libraries belong to a run: a resume goes on with those that it began with."""

import json

import pytest
import torch

from selfsup.config import compile_config, load
from selfsup.datasets.decoding import image_libraries
from selfsup.errors import CheckpointError

from .changed_runs import equal, log_of, table
from .runs import train, write_config

EVERY = ('checkpoint_config.by_epoch=False', 'total_epochs=1')  # 6 iterations
STOP, LAST = 3, 'iter_6.pth'


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """(config, backend -> work dir of a run that stopped after 3 iterations, and the end of a straight run with the reference)."""
    folder = tmp_path_factory.mktemp('backends')
    config = write_config(folder)
    stopped = {
        backend: train(config, folder / backend, *EVERY, f'pipeline_backend={backend}', stop_after=STOP, curves=False)
        for backend in ('reference', 'fast')
    }
    straight = train(config, folder / 'straight', *EVERY, 'pipeline_backend=reference', curves=False)
    return config, stopped, straight / LAST


def edited(stopped, path, change):
    """The checkpoint of a stopped run with its meta changed."""
    content = torch.load(stopped / f'iter_{STOP}.pth', weights_only=True)
    change(content['meta'])
    torch.save(content, path)
    return path


def unrecorded(meta):
    """As earlier versions wrote it."""
    del meta['image_libraries'], meta['compiled']['train_dataloader']['pipeline_backend']


def undescribed(meta):
    """As the first versions wrote it."""
    for name in ('image_libraries', 'compiled', 'data', 'classes'):
        del meta[name]


def resume(config, checkpoint, work_dir, *options, **how):
    return train(config, work_dir, *EVERY, *options, resume_from=str(checkpoint), curves=False, **how)


def end_of(work_dir):
    return torch.load(work_dir / LAST, weights_only=True)


def backend_in(checkpoint):
    return checkpoint['meta']['compiled']['train_dataloader']['pipeline_backend']


def test_checkpoints_say_what_made_their_images(runs):
    for backend, work_dir in runs[1].items():
        meta = torch.load(work_dir / f'iter_{STOP}.pth', weights_only=True)['meta']
        assert backend_in({'meta': meta}) == backend and meta['image_libraries'] == image_libraries(backend)


@pytest.mark.parametrize(('was', 'now'), [('reference', 'fast'), ('fast', 'reference'), ('reference', None)])
def test_another_backend_is_refused(runs, tmp_path, was, now):
    """None: the config does not say it, and means 'fast'."""
    config, stopped, straight = runs
    option = (f'pipeline_backend={now}',) if now else ()
    remedy = rf"\(set pipeline_backend='{was}' or give --allow-changed pipeline_backend\)"
    expected = rf"pipeline_backend was '{was}' and is '{now or 'fast'}' {remedy}"
    with pytest.raises(CheckpointError, match=expected):
        resume(config, stopped[was] / f'iter_{STOP}.pth', tmp_path / 'work', *option)
    work_dir = resume(
        config, stopped[was] / f'iter_{STOP}.pth', tmp_path / 'allowed', *option, allow_changed=['pipeline_backend']
    )
    saved = end_of(work_dir)
    assert backend_in(saved) == (now or 'fast')
    assert not equal(saved, torch.load(straight, weights_only=True))  # the backends do differ
    (change,) = saved['meta']['changed']
    assert (change['key'], change['iter']) == ('pipeline_backend', STOP)


@pytest.mark.parametrize('change', [unrecorded, undescribed])
def test_a_checkpoint_without_a_record_goes_on_with_the_reference(runs, tmp_path, change):
    config, stopped, straight = runs
    checkpoint = edited(stopped['reference'], tmp_path / 'earlier.pth', change)
    work_dir = resume(config, checkpoint, tmp_path / 'work')
    saved = end_of(work_dir)
    assert equal(saved, torch.load(straight, weights_only=True)) and backend_in(saved) == 'reference'
    lines = [line for line in log_of(work_dir).splitlines() if 'before there was a choice of pipeline_backend' in line]
    assert len(lines) == 1 and "goes on with 'reference'" in lines[0]
    assert not any('pipeline_backend' in line for line in table(work_dir))


@pytest.mark.parametrize('change', [unrecorded, undescribed])
def test_only_who_asks_for_the_fast_backend_gets_it_there(runs, tmp_path, change):
    config, stopped, _ = runs
    checkpoint = edited(stopped['reference'], tmp_path / 'earlier.pth', change)
    with pytest.raises(
        CheckpointError, match=r"pipeline_backend was 'reference' and is 'fast' \(set pipeline_backend="
    ):
        resume(config, checkpoint, tmp_path / 'refused', 'pipeline_backend=fast')
    for number, option in enumerate([('pipeline_backend=fast',), ()]):
        key = 'data.pipeline_backend' if number else 'pipeline_backend'
        work_dir = resume(config, checkpoint, tmp_path / f'work{number}', *option, allow_changed=[key])
        assert backend_in(end_of(work_dir)) == 'fast'
        assert [line.split()[0] for line in table(work_dir)[1:2]] == ['pipeline_backend']


def test_other_libraries_are_a_change_of_the_fast_backend(runs, tmp_path):
    config, stopped, _ = runs

    def other(meta):
        meta['image_libraries'].update(opencv='4.0.1', quickjpeg='7')

    checkpoint = edited(stopped['fast'], tmp_path / 'other.pth', other)
    opencv = image_libraries('fast')['opencv']
    with pytest.raises(CheckpointError) as caught:
        resume(config, checkpoint, tmp_path / 'refused')
    message = str(caught.value)
    assert f"image_libraries.opencv was '4.0.1' and is '{opencv}' (install opencv 4.0.1 again or give" in message
    assert "image_libraries.quickjpeg was '7' and is not set (install quickjpeg 7 again" in message
    assert message.count('--allow-changed image_libraries') == 2 and '\n' not in message
    saved = end_of(resume(config, checkpoint, tmp_path / 'work', allow_changed=['image_libraries']))
    assert saved['meta']['image_libraries'] == image_libraries('fast')
    assert {change['key'] for change in saved['meta']['changed']} == {
        'image_libraries.opencv',
        'image_libraries.quickjpeg',
    }


def test_the_reference_takes_other_versions_of_pillow_but_no_other_implementation(runs, tmp_path):
    config, stopped, straight = runs
    options = ('pipeline_backend=reference',)

    def older(meta):
        meta['image_libraries']['pillow'] = '9.5'

    checkpoint = edited(stopped['reference'], tmp_path / 'older.pth', older)
    work_dir = resume(config, checkpoint, tmp_path / 'work', *options)
    assert equal(end_of(work_dir), torch.load(straight, weights_only=True))
    assert any(line.startswith("image_libraries.pillow was '9.5' and is") for line in table(work_dir))

    def simd(meta):
        meta['image_libraries'] = {'pillow-simd': '12.1.1.post0'}

    checkpoint = edited(stopped['reference'], tmp_path / 'simd.pth', simd)
    with pytest.raises(CheckpointError, match=r"image_libraries.pillow-simd was '12.1.1.post0' and is not set"):
        resume(config, checkpoint, tmp_path / 'refused', *options)


def test_a_damaged_record_is_refused(runs, tmp_path):
    config, stopped, _ = runs
    checkpoint = edited(stopped['fast'], tmp_path / 'bad.pth', lambda meta: meta.update(image_libraries=['pillow']))
    with pytest.raises(CheckpointError, match=r"its meta\['image_libraries'\] is a list, not a dict"):
        resume(config, checkpoint, tmp_path / 'work')


def test_compiled_configs_of_earlier_versions_mean_the_reference(runs, tmp_path):
    """What a work dir holds is a config; before the setting it did not name a backend, and computed as 'reference' does."""
    config, stopped, straight = runs
    compiled = compile_config(load(str(config), list(EVERY)))
    assert compiled['train_dataloader']['pipeline_backend'] == 'fast'
    again = compile_config(load(write(tmp_path / 'new.py', compiled)))
    assert json.dumps(again) == json.dumps(compiled)
    del compiled['train_dataloader']['pipeline_backend']
    earlier = write(tmp_path / 'earlier.py', compiled)
    assert compile_config(load(earlier))['train_dataloader']['pipeline_backend'] == 'reference'
    assert compile_config(load(earlier, ['pipeline_backend=fast']))['train_dataloader']['pipeline_backend'] == 'fast'
    checkpoint = edited(stopped['reference'], tmp_path / 'earlier.pth', unrecorded)
    saved = end_of(train(earlier, tmp_path / 'work', resume_from=str(checkpoint), curves=False))
    assert equal(saved, torch.load(straight, weights_only=True))


def write(path, compiled):
    """A compiled config as a file."""
    values = json.loads(json.dumps(compiled))
    path.write_text(''.join(f'{name} = {value!r}\n' for name, value in values.items() if value is not None))
    return str(path)
