"""What old files say beyond our keys is translated, with one summary; what they never said stays an error."""

import warnings

import pytest

from selfsup.config import compat, compile_config, load
from selfsup.errors import ConfigError, SelfSupWarning

OLD = """
dataset_type = 'ContrastiveDataset'
data_test_list = 'data/imagenet/meta/val.txt'
train_cfg = {}
test_cfg = {}
optimizer_config = dict()
model = dict(
    type='BYOL', pretrained=None, base_momentum=0.99, pre_conv=True,
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    neck=dict(type='NonLinearNeckV2', in_channels=2048, hid_channels=4096, out_channels=256, with_avg_pool=True),
    head=dict(type='LatentPredictHead', size_average=True, predictor=dict(
        type='NonLinearNeckV2', in_channels=256, hid_channels=4096, out_channels=256, with_avg_pool=False)))
source = dict(type='ImageNet', root='a', list_file='b', memcached=True, mclient_path='/mnt/memcached_client')
steps = [dict(type='RandomAppliedTrans', p=0.5, transforms=[
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, kernel_size=23)]), dict(type='ToTensor')]
data = dict(imgs_per_gpu=32, workers_per_gpu=4, train=dict(type='BYOLDataset', data_source=source, pipeline1=steps, pipeline2=steps))
optimizer = dict(type='SGD', lr=0.1, paramwise_options=dict(norm_decay_mult=0.))
lr_config = dict(policy='CosineAnealing', min_lr=0.)
checkpoint_config = dict(interval=10, create_symlink=True)
dist_params = dict(backend='nccl', port=29500)
use_fp16 = True
optimizer_config = dict(update_interval=1, use_fp16=True)
total_epochs = 200
"""


def write(tmp_path, text=OLD):
    path = tmp_path / 'old.py'
    path.write_text(text)
    return path


def test_one_summary_says_everything(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        loaded = load(write(tmp_path))
    found = [str(w.message) for w in caught if issubclass(w.category, SelfSupWarning)]
    assert len(found) == 1 and found[0].startswith('Translated from OpenSelfSup: ')
    for word in (
        'model.pre_conv',
        'norm_decay_mult',
        'memcached=True',
        'kernel_size',
        "'CosineAnnealing'",
        'create_symlink',
        'port',
        'use_fp16',
        'dataset_type, data_test_list: assigned and not used',
    ):
        assert word in found[0], word
    assert found[0].count('memcached') == 1
    compiled = compile_config(loaded)
    assert 'pre_conv' not in compiled['model'] and compiled['optim_wrapper']['type'] == 'AmpOptimWrapper'
    assert compiled['optim_wrapper']['paramwise_options'] is None
    assert compiled['param_scheduler'][0]['policy'] == 'CosineAnnealing'
    assert compiled['train_dataloader']['dataset']['data_source']['memcached'] is False


def test_our_own_files_need_no_summary(recwarn):
    for path in ('configs/selfsup/moco/r50_v1_fp16.py', 'configs/selfsup/byol/r50_bs256_ep200.py'):
        load(path)
    assert not [w for w in recwarn if 'Translated' in str(w.message)]


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ("dataset_type = 'C", "datset_type = 'C", 'datset_type .* is not a config key'),
        ('pre_conv=True', 'pre_con=True', 'model.pre_con .* is not an argument of BYOL'),
        ('norm_decay_mult=0.', 'norm_decay_mul=0.', 'norm_decay_mul'),
        ('create_symlink=True', 'create_symlnk=True', 'create_symlnk'),
        ('kernel_size=23', 'kernel_siz=23', 'kernel_siz'),
    ],
)
def test_a_misspelt_key_stays_an_error(tmp_path, old, new, message):
    assert old in OLD
    with pytest.raises(ConfigError, match=message):
        load(write(tmp_path, OLD.replace(old, new)))


def test_what_is_given_is_left_as_it_is():
    given = {'model': {'type': 'BYOL', 'pre_conv': True}, 'data': {'train': [{'memcached': True, 'mclient_path': 'x'}]}}
    with pytest.warns(SelfSupWarning):
        compat.translate(given, [])
    assert given == {
        'model': {'type': 'BYOL', 'pre_conv': True},
        'data': {'train': [{'memcached': True, 'mclient_path': 'x'}]},
    }
