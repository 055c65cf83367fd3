"""SparK's own log and its file of weights, written while training."""

import json
import re

import pytest
import torch

from selfsup.config import compile_config, load
from selfsup.errors import ConfigError
from selfsup.weights.load import build_with_weights
from selfsup.weights.read import read_checkpoint
from tests.resume.runs import train, write_config

HOOK = "custom_hooks=[dict(type='SparKLogHook', export='tiny')]"


def read(work_dir):
    head, epochs = (work_dir / 'pretrain_log.txt').read_text().split('\n\n')
    return json.loads(head), [json.loads(line) for line in epochs.splitlines()]


def test_the_log_and_the_weights_at_each_save(tmp_path):
    config = write_config(tmp_path, 'SparK')
    work_dir = train(config, tmp_path / 'work', HOOK, 'total_epochs=2', 'checkpoint_config.interval=1')
    head, epochs = read(work_dir)
    assert (
        head['name'] == 'work'
        and head['model'] == 'ResNet'
        and set(head) == {'name', 'cmd', 'git_commit_id', 'git_commit_msg', 'model'}
    )
    assert [epoch['cur_ep'] for epoch in epochs] == ['1/2', '2/2']
    log = next(work_dir.glob('*/*.log')).read_text()
    means = [float(value) for value in re.findall(r'is done: mean loss ([\d.]+)', log)]
    assert [epoch['last_L'] for epoch in epochs] == pytest.approx(means, abs=1e-4)
    assert epochs[-1]['rema'] == '0:00:00' and re.fullmatch(r'\d\d-\d\d \d\d:\d\d', epochs[0]['fini'])
    exported = read_checkpoint(work_dir / 'tiny_1kpretrained_timm_style.pth')
    saved = {
        k.removeprefix('backbone.'): v
        for k, v in read_checkpoint(work_dir / 'epoch_2.pth')['state_dict'].items()
        if k.startswith('backbone.')
    }
    assert exported.keys() == saved.keys() and all(torch.equal(exported[k], saved[k]) for k in saved)
    model = build_with_weights(
        compile_config(load(str(config)))['model'], str(work_dir / 'tiny_1kpretrained_timm_style.pth')
    )
    assert all(torch.equal(value, saved[name]) for name, value in model.backbone.state_dict().items())


def test_a_resumed_run_goes_on_with_the_log(tmp_path):
    config = write_config(tmp_path, 'SparK')
    work_dir = train(config, tmp_path / 'work', HOOK)
    _, whole = read(work_dir)
    train(config, work_dir, HOOK, resume_from=str(work_dir / 'epoch_2.pth'))
    _, epochs = read(work_dir)
    assert [epoch['cur_ep'] for epoch in epochs] == ['1/3', '2/3', '3/3']
    assert epochs[:2] == whole[:2] and epochs[2]['last_L'] == pytest.approx(whole[2]['last_L'], rel=1e-5)
    (work_dir / 'pretrain_log.txt').write_text('half a li')
    train(config, work_dir, HOOK, resume_from=str(work_dir / 'epoch_2.pth'))
    assert [epoch['cur_ep'] for epoch in read(work_dir)[1]] == ['3/3']


def test_what_cannot_be_written_does_not_end_the_run(tmp_path):
    (tmp_path / 'work' / 'pretrain_log.txt').mkdir(parents=True)  # a folder in the place of the file
    (tmp_path / 'work' / 'tiny_1kpretrained_timm_style.pth').mkdir()
    work_dir = train(write_config(tmp_path, 'SparK'), tmp_path / 'work', HOOK, 'total_epochs=1')
    assert (work_dir / 'epoch_1.pth').exists()
    assert 'pretrain_log.txt' in next(work_dir.glob('*/*.log')).read_text()


def test_a_name_that_leads_elsewhere_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"SparKLogHook export='\.\./x': use letters"):
        train(write_config(tmp_path, 'SparK'), tmp_path / 'work', HOOK.replace('tiny', '../x'))
