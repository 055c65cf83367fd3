"""Weights dealt out over two processes train to what two whole copies train to, and leave the same checkpoints."""

import pytest
import torch
from torch import nn

from selfsup.engine.processes import fsdp
from selfsup.errors import CheckpointError, ConfigError
from selfsup.registry import MODELS
from tests.engine.spread_runs import on_two, train, write_spread_config
from tests.resume.runs import differences

# windows of two micro-batches, gradients that are clipped, drop path
BASE = (
    'data.imgs_per_gpu=2',
    'optimizer_config.update_interval=2',
    'optimizer_config.grad_clip.max_norm=0.01',
    'checkpoint_config.by_epoch=False',
    'checkpoint_config.interval=6',
    'total_epochs=2',
)


@pytest.mark.slow
@pytest.mark.dist
def test_dealt_out_equals_whole_and_each_goes_on_from_the_other(tmp_path):
    """Two numbers have one sum, so two processes give the same bits; of more, sums may be taken in another order."""
    config = write_spread_config(tmp_path, 'FCMAE')
    dealt, other = (*BASE, 'fsdp=True', 'model.backbone.with_cp=True'), {'allow_changed': ('fsdp',)}
    whole, shards, back = tmp_path / 'whole', tmp_path / 'shards', tmp_path / 'back'
    on_two(
        config,
        (whole, (*BASE, 'model.backbone.with_cp=True'), {}),
        (shards, dealt, {}),
        (tmp_path / 'on', dealt, {'resume_from': str(whole / 'iter_6.pth'), **other}),
        (back, (*BASE, 'model.backbone.with_cp=True'), {'resume_from': str(shards / 'iter_6.pth'), **other}),
    )
    for folder in (shards, tmp_path / 'on', back):
        assert differences(whole / 'iter_12.pth', folder / 'iter_12.pth') == [], folder
    saved = torch.load(shards / 'iter_12.pth', weights_only=True)
    assert not torch.equal(
        saved['state_dict']['pred.weight'], torch.load(shards / 'iter_6.pth')['state_dict']['pred.weight']
    )
    assert {type(value) for value in saved['state_dict'].values()} == {torch.Tensor}


@pytest.mark.dist
def test_fine_tuning_is_validated_while_dealt_out(tmp_path):
    config = write_spread_config(tmp_path, 'Classification')
    text = config.read_text()
    config.write_text(
        text
        + "custom_hooks = [dict(type='ValidateHook', dataset=dict(type='ClassificationDataset', data_source=source, "
        'pipeline=pipeline[-2:]), imgs_per_gpu=4, initial=True)]\n'
    )
    base = ('data.imgs_per_gpu=4', 'total_epochs=1', 'ddp.bucket_cap_mb=1')
    runs = (tmp_path / 'whole', base, {}), (tmp_path / 'shards', (*base[:2], 'fsdp=True'), {})
    on_two(config, *runs)
    one, other = (torch.load(path / 'epoch_1.pth', weights_only=True) for path, *_ in runs)
    assert len(one['meta']['measured']) == 2 and one['meta']['measured'] == other['meta']['measured']
    assert differences(runs[0][0] / 'epoch_1.pth', runs[1][0] / 'epoch_1.pth') == []


def test_what_it_is_not_for_is_refused_in_one_line(tmp_path):
    device, convnext = torch.device('cpu'), {'type': 'ConvNeXtV2', 'depths': (1,), 'dims': (4,)}
    head = {'type': 'ClsHead', 'with_avg_pool': True, 'in_channels': 4, 'num_classes': 2}
    resnet = MODELS.build({'type': 'Classification', 'backbone': {'type': 'ResNet', 'depth': 18}, 'head': head})
    fits = MODELS.build({'type': 'Classification', 'backbone': convnext, 'head': head})
    neck = {'type': 'LinearNeck', 'in_channels': 4, 'out_channels': 4}
    moco = MODELS.build(
        {'type': 'MOCO', 'backbone': convnext, 'neck': neck, 'head': {'type': 'ContrastiveHead'}, 'feat_dim': 4}
    )
    for model, layout, words in (
        (resnet, False, r'a ResNet does not say its blocks\(\)'),
        (fits, True, 'channels_last=True'),
        (moco, False, 'MOCO keeps a momentum copy or a bank'),
    ):
        with pytest.raises(ConfigError, match=f'^fsdp cannot be used here: {words}.*leave fsdp out'):
            fsdp.shard(model, device, {}, channels_last=layout)


def test_optimizers_and_hooks_that_need_whole_weights_are_refused():
    class Hook:
        takes_sharded = False

    class Wrapper:
        def __init__(self, optimizer):
            self.optimizer = optimizer

    model, adam = fsdp.Sharded(nn.Linear(2, 2)), torch.optim.AdamW([nn.Parameter(torch.ones(1))])
    fsdp.check_run(model, Wrapper(adam), [])
    with pytest.raises(ConfigError, match='Hook works on whole weights'):
        fsdp.check_run(model, Wrapper(adam), [Hook()])
    with pytest.raises(ConfigError, match='LARS scales each weight'):
        fsdp.check_run(model, Wrapper(type('LARS', (), {})()), [])
    fsdp.check_run(nn.Linear(2, 2), Wrapper(adam), [Hook()])


def test_one_process_has_nothing_to_deal_out_and_changes_are_asked_about(tmp_path):
    config = write_spread_config(tmp_path, 'Classification')
    options = ('checkpoint_config.by_epoch=False', 'checkpoint_config.interval=3', 'total_iters=3')
    train(config, tmp_path / 'one', *options, 'total_epochs=None', 'fsdp=True', curves=False)
    for change in ('ddp.compress=bf16', 'ddp.bucket_cap_mb=7', 'compile.backend=eager'):
        with pytest.raises(CheckpointError, match=change.partition('=')[0].replace('compile.backend', 'compile')):
            train(
                config,
                tmp_path / 'other',
                *options,
                'total_epochs=None',
                'fsdp=True' if 'ddp' not in change and 'compile' not in change else 'fsdp=False',
                change,
                resume_from=str(tmp_path / 'one' / 'iter_3.pth'),
                curves=False,
                allow_changed=('fsdp',),
            )
    with pytest.raises(ConfigError, match='fsdp and ddp exclude each other'):
        train(config, tmp_path / 'third', 'fsdp=True', 'ddp.compress=fp16', curves=False)
