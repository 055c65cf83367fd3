"""The tools that measure: accuracy, features, pictures, speed; on small real inputs, called in this process."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from selfsup.errors import CheckpointError, ConfigError, DataError, SelfSupWarning, ShapeError
from selfsup.evaluation.analysis.throughput import advice, balance, loader_speed, step_speed, worker_speed
from selfsup.evaluation.layer_features import pool_layers, read_splits, save_splits
from selfsup.evaluation.readable import unreadable
from selfsup.weights.read import read_checkpoint
from selfsup.weights.write import write_checkpoint_atomic

from .conftest import CONFIG, DATA

# --- testing


def test_test_tool(call, config_file, trained, tmp_path):
    out = call('test', config_file, trained, '--topk', 1, 5, 10)
    scores = dict(line.split(': ') for line in out.splitlines()[1:])
    assert float(scores['head0_top10']) == 100 and 0 <= float(scores['head0_top1']) <= float(scores['head0_top5']) < 100
    log = Path(scores['log'])
    assert log.parent == trained.parent and log.read_text() in out


def test_a_checkpoint_is_read_once(call, config_file, trained, monkeypatch):
    """Weights, classes and description come from one reading: with its optimizer a file may hold several GB."""
    read, load = [], torch.load
    monkeypatch.setattr(torch, 'load', lambda file, **settings: read.append(file) or load(file, **settings))
    call('test', config_file, trained)
    assert len(read) == 1


def test_test_tool_with_more_than_there_are(call, config_file, trained):
    with pytest.warns(SelfSupWarning, match='a k above 10 is counted as 10'):
        assert 'head0_top11: 100.00' in call('test', config_file, trained, '--topk', 11)


@pytest.mark.parametrize('out', ['views', 'views.pgn'])
def test_show_views_writes_png(call, config_file, out, capsys):
    with pytest.raises(SystemExit):
        call('show_views', config_file, '--out', out)
    assert f'--out {out} must end in .png' in capsys.readouterr().err


def test_a_port_that_is_no_number(call, config_file, monkeypatch):
    monkeypatch.setenv('PORT', 'x')
    with pytest.raises(ConfigError, match="PORT='x' is not a number"):
        call('train', config_file)


def test_test_tool_is_strict(call, config_file, trained, tmp_path):
    content = read_checkpoint(trained)
    del content['state_dict']['head.fc_cls.bias']
    write_checkpoint_atomic(content, tmp_path / 'part.pth')
    with pytest.raises(CheckpointError, match=r'missing in the file: head\.fc_cls\.bias'):
        call('test', config_file, tmp_path / 'part.pth')
    write_checkpoint_atomic({'state_dict': {'x': torch.ones(1)}}, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='0 of its 1 tensors match'):
        call('test', config_file, tmp_path / 'other.pth')
    config_file.write_text(CONFIG.replace('val=', 'test='))
    with pytest.raises(ConfigError, match=r'no data\.val'):
        call('test', config_file, trained)


# --- extracting features


def test_extract(call, config_file, trained, tmp_path):
    dataset = tmp_path / 'digits.py'
    source = DATA.format(split='test')
    dataset.write_text(
        f"data = dict(imgs_per_gpu=100, workers_per_gpu=0, extract=dict(type='ExtractDataset', {source}))\n"
        "split_name, split_at = ['a', 'b'], [100]\n"
    )
    call('extract_backbone_weights', trained, tmp_path / 'b.pth')
    shared = ('--dataset-config', dataset, '--layer-ind', '0,4', '--work_dir')
    by_checkpoint = call('extract', config_file, '--checkpoint', trained, *shared, tmp_path / 'w1')
    call('extract', config_file, '--pretrained', tmp_path / 'b.pth', *shared, tmp_path / 'w2')
    call('extract', config_file, '--pretrained', 'random', *shared, tmp_path / 'w3')
    names = {'a_feat1.npy', 'a_feat2.npy', 'b_feat1.npy', 'b_feat2.npy'}
    beside = {'a_names.json', 'b_names.json', 'extracted.json'}
    assert {p.name for p in (tmp_path / 'w1' / 'features').iterdir()} == names | beside and all(
        name in by_checkpoint for name in names
    )
    a, b = (np.load(tmp_path / 'w1' / 'features' / f'{split}_feat2.npy') for split in 'ab')
    # Stage 5 at 16 pixels is 2 x 2.
    assert a.dtype == np.float32 and len(a) == 100 and a.shape[1] == b.shape[1] == 64 * 4
    assert np.array_equal(a, np.load(tmp_path / 'w2' / 'features' / 'a_feat2.npy'))
    assert not np.allclose(a, np.load(tmp_path / 'w3' / 'features' / 'a_feat2.npy'), atol=1e-3)
    assert np.load(tmp_path / 'w1' / 'features' / 'a_feat1.npy').shape[1] == 8 * 144


def test_extract_pools_resnet50_as_documented():
    shapes = ((64, 112), (256, 56), (512, 28), (1024, 14), (2048, 7))
    features = pool_layers([torch.ones(1, c, s, s) for c, s in shapes], range(5))
    assert [f.shape[1] for f in features.values()] == [9216, 9216, 8192, 9216, 8192]
    assert list(features) == ['feat1', 'feat2', 'feat3', 'feat4', 'feat5']
    x = torch.arange(49.0).view(1, 1, 7, 7)
    assert pool_layers([x], [4])['feat1'].tolist() == [
        [x[0, 0, i : i + 6, j : j + 6].mean().item() for i in (0, 1) for j in (0, 1)]
    ]
    other = torch.arange(16.0).view(1, 1, 4, 4)
    assert pool_layers([other], [4])['feat1'].tolist() == [[2.5, 4.5, 10.5, 12.5]]
    for maps, indices in (([x], [5]), ([x, x], [1]), ([torch.ones(2, 3)], [4])):
        with pytest.raises(ShapeError):
            pool_layers(maps, indices)


@pytest.mark.parametrize(
    'text, message',
    [
        ('data = 1', '`data` lacks extract and imgs_per_gpu'),
        ('import no_such_module', 'ModuleNotFoundError'),
        ('x = ', 'SyntaxError'),
        ("data = dict(extract=1, imgs_per_gpu=1)\nsplit_name = ['a', 'b']", 'split_at needs 1 increasing rows; got []'),
        ("data = dict(extract=1, imgs_per_gpu=1)\nsplit_name = ['a', 'b', 'c']\nsplit_at = [5, 3]", 'increasing'),
    ],
)
def test_bad_dataset_files(tmp_path, text, message):
    (tmp_path / 'd.py').write_text(text)
    with pytest.raises(ConfigError) as error:
        read_splits(str(tmp_path / 'd.py'))
    assert message in str(error.value) and '\n' not in str(error.value)


def test_split_beyond_the_end(tmp_path):
    with pytest.raises(DataError, match='only 3 images'):
        save_splits({'feat1': torch.ones(3, 2)}, tmp_path, ['a', 'b'], [3])


# --- receptive fields


def test_show_erf(call, config_file, trained, tmp_path, capsys):
    from PIL import Image

    folder = tmp_path / 'photos'
    folder.mkdir()
    for i in range(3):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(
            folder / f'{i}.png'
        )
    # As many as there are.
    out = call('show_erf', config_file, trained, folder, '--size', 64, '--num-images', 3).splitlines()
    assert out[0] == '3 images' and [line.split()[0] for line in out[2:6]] == ['20%', '30%', '50%', '99%']
    field = np.load(trained.parent / 'erf.npy')
    assert field.shape == (64, 64) and field.dtype == np.float64 and field.max() > 0
    assert out[6:] == [str(trained.parent / 'erf.png'), str(trained.parent / 'erf.npy')]
    with Image.open(trained.parent / 'erf.png') as picture:
        assert len(picture.convert('RGB').getcolors(1 << 20)) > 10
    files = folder / '1.png', folder / '2.png'
    one = call('show_erf', config_file, *files, '--size', 32, '--num-images', 1, '--out', tmp_path / 'n' / 'a.png')
    assert one.startswith('1 images') and np.load(tmp_path / 'n' / 'a.npy').shape == (32, 32)
    with pytest.raises(DataError, match=r'no\.png cannot be read as an image'):
        call('show_erf', config_file, tmp_path / 'no.png')
    for words, message in (
        ((trained,), 'give at least one image'),
        ((folder, '--size', 0), 'must be 1 or more'),
        ((folder, '--out', 'x.jpg'), 'must end in .png'),
    ):
        with pytest.raises(SystemExit):
            call('show_erf', config_file, *words)
        assert message in capsys.readouterr().err


# --- doctor


def test_doctor_alone(call):
    out = call('doctor')
    assert all(word in out for word in ('python', 'torch', 'mmengine', 'numpy', 'git_commit', 'gpus'))


@pytest.mark.parametrize('extra', [(), ('use_fp16=True',)], ids=['full', 'amp'])
def test_doctor_with_config(call, config_file, extra):
    out = call('doctor', config_file, '--seconds', 0.3, *(('--cfg-options', *extra) if extra else ()))
    assert (
        'all good' in out
        and 'pipeline: ' in out
        and 'is the bottleneck' in out
        and 'one worker makes ' in out
        and 'up with the model on this device' in out
        and (', mixed precision' in out) == bool(extra)
    )


def test_doctor_names_unreadable_samples(call, tmp_path):
    from PIL import Image

    for i in range(3):
        Image.new('RGB', (20, 20)).save(tmp_path / f'{i}.png')
    (tmp_path / '1.png').write_bytes(b'no image')
    listed = f"dict(type='ImageList', root='{tmp_path}', list_file='{tmp_path}/l.txt')"
    config = CONFIG.replace("dict(type='Digits', split='train', size=16)", listed)
    (tmp_path / 'l.txt').write_text('0.png 0\n1.png 1\n2.png 2\n')
    (tmp_path / 'c.py').write_text(config)
    with pytest.raises(DataError, match=r'1\.png'):
        call('doctor', tmp_path / 'c.py', '--seconds', 0.2)


def test_unreadable_tries_first_and_last():
    class Odd(list):
        def __getitem__(self, i):
            if i == 99:
                raise OSError('gone')
            return i

    tried, problems = unreadable(Odd(range(100)), 5)
    assert {0, 99} <= set(tried) and len(tried) == 5 and problems == ['sample 99: OSError: gone']
    assert unreadable([], 5) == ([], [])


def test_speeds_are_right():
    def slow():
        time.sleep(0.01)

    def batches(number):
        for i in range(number):
            time.sleep(0.01)
            yield {'img': torch.ones(4, 1), 'number': i}

    speed, first = loader_speed(batches(1000), 0.5)
    assert 200 < speed < 400 and first['number'] == 0
    assert 200 < loader_speed(batches(3), 5)[0] < 400  # ends before the measurement begins: all of it counts
    assert loader_speed(batches(0), 0.1)[1] is None
    assert 200 < step_speed(slow, 4, 0.5) < 400
    assert balance(100, 40) == 3 and balance(1, 40) == 1
    with_cpu = {'workers': 0, 'prefetch': False, 'amp': False, 'device': 'cpu'}
    assert 'The pipeline is the bottleneck: the model would wait 75 %' in advice(10.0, 40.0, **with_cpu)
    assert 'prefetch=True' in advice(10.0, 40.0, **with_cpu) and 'The model is the bottleneck' in advice(
        40.0, 10.0, **with_cpu
    )


def test_the_advice_names_the_settings_that_help(monkeypatch):
    monkeypatch.setattr('selfsup.evaluation.analysis.throughput.cores', lambda: 8)
    run = {'workers': 2, 'prefetch': True, 'amp': True, 'device': 'cuda', 'per_worker': 100.0}
    text = advice(200.0, 450.0, **run)
    assert 'workers_per_gpu=5 (now 2, this machine has 8 CPUs)' in text and 'more CPUs' not in text
    assert 'prefetch=dict(augment_on_device=True)' in text and 'cache=dict(' in text and 'backend' not in text
    text = advice(200.0, 4000.0, **run, augment=True, cache=True, backend='reference')
    assert 'workers_per_gpu=8 (now 2' in text and "pipeline_backend='fast'" in text
    assert 'augment' not in text and 'cache' not in text and '(this one has 8: 40 workers would keep up)' in text
    assert 'workers_per_gpu=1 would be enough' in advice(200.0, 50.0, **run)
    assert 'workers_per_gpu' not in advice(200.0, 180.0, **run)


def test_the_speed_of_a_worker_counts_processor_time():
    class Loader:
        batch_size = 4

        def read_first(self, images):
            end = time.process_time() + 0.005 * images
            while time.process_time() < end:
                pass
            time.sleep(0.05)
            return images

    threads = torch.get_num_threads()
    assert 120 < worker_speed(Loader(), 0.3) < 201 and torch.get_num_threads() == threads
