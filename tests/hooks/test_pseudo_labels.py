"""DeepClusterHook and ODCHook in real runs: labels, files, logs, exact resume, repaired quirks, errors."""

import json

import numpy as np
import pytest
import torch

from selfsup.errors import ConfigError, DataError, SelfSupError
from selfsup.hooks.deep_cluster.label_statistics import label_change
from tests.distributed.helpers import run_ranks
from tests.resume.runs import differences, train, write_images

CONFIG = '''"""Tiny run with pseudo labels: 24 digits, batches of 4, six iterations per epoch."""
source = dict(type='ImageList', root={root!r}, list_file={root!r} + '/list.txt')
model = dict(
    type={method!r},
    backbone=dict(type='ResNet', depth=18, stage_blocks=(1, 1, 1, 1), base_channels=4, stem='cifar', out_indices=(4,)),
    head=dict(type='ClsHead', in_channels={width}, num_classes=3),
    {extra})
norm = [dict(type='ToTensor'), dict(type='Normalize', mean=[0.5, 0.5, 0.5], std=[0.3, 0.3, 0.3])]
data = dict(
    imgs_per_gpu=4, workers_per_gpu={workers}, sampling_replace={replace},
    train=dict(type='DeepClusterDataset', data_source=source,
               pipeline=[dict(type='RandomResizedCrop', size=8, scale=(0.3, 1.0)), dict(type='RandomHorizontalFlip'), *norm]))
custom_hooks = [
    dict(type='DeepClusterHook',
         extractor=dict(imgs_per_gpu=8, workers_per_gpu=0, dataset=dict(
             type='ExtractDataset', data_source=source, pipeline=[dict(type='Resize', size=8), *norm])),
         clustering=dict(type='Kmeans', k=3, pca_dim={pca}), {hook}),
    {odc}
]
optimizer = dict(type='SGD', lr=0.05, momentum=0.9, paramwise_options={{r'\\Ahead.': dict(momentum=0.)}})
lr_config = dict(policy='step', step=[400])
checkpoint_config = dict(interval=1)
log_config = dict(interval=2)
total_epochs = 3
'''
METHODS = {
    'DeepCluster': dict(
        extra="neck=dict(type='AvgPoolNeck')",
        width=32,
        replace=False,
        pca=6,
        odc='',
        hook='unif_sampling=True, reweight=True, reweight_pow=0.5, init_memory=False, initial=True, interval=1',
    ),
    'ODC': dict(
        extra="neck=dict(type='NonLinearNeckV0', in_channels=32, hid_channels=16, out_channels=8),\n    "
        "memory_bank=dict(type='ODCMemory', length=24, feat_dim=8, momentum=0.5, num_classes=3, min_cluster=2)",
        width=8,
        replace=True,
        pca=-1,
        hook='unif_sampling=False, reweight=False, reweight_pow=0.5, init_memory=True, initial=True, interval=9999999999',
        odc="dict(type='ODCHook', centroids_update_interval=4, deal_with_small_clusters_interval=1, evaluate_interval=3, "
        'reweight=True, reweight_pow=0.5),',
    ),
}


def write(folder, method, workers=0):
    path = folder / f'{method}{workers}.py'
    path.write_text(
        CONFIG.format(root=str(write_images(folder / 'images')), method=method, workers=workers, **METHODS[method])
    )
    return path


@pytest.fixture(scope='module', params=METHODS)
def straight(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp('straight')
    config = write(folder, request.param)
    train(config, folder / 'work', 'checkpoint_config.interval=1')
    return request.param, config, folder / 'work'


def scalars(work_dir):
    return [json.loads(x) for f in work_dir.glob('*/vis_data/2*.json') for x in f.read_text().splitlines()]


def test_labels_are_saved_logged_and_files_written(straight):
    method, _, work = straight
    for epoch in (1, 2, 3):
        saved = torch.load(work / f'epoch_{epoch}.pth', weights_only=True)
        labels = saved['deep_cluster']['labels']
        assert labels.shape == (24,) and set(labels.tolist()) == {0, 1, 2}
        number = min(epoch, 2) if method == 'DeepCluster' else 0  # after the last epoch nothing is clustered
        assert np.load(work / f'cluster_epoch_{number}.npy').tolist() == labels.tolist()
    assert len(list(work.glob('cluster_epoch_*.npy'))) == (3 if method == 'DeepCluster' else 1)
    lines = [x for x in scalars(work) if 'cluster_min' in x]
    assert lines and all({'cluster_empty', 'cluster_max'} <= set(x) for x in lines)
    assert any('change_ratio' in x or 'cluster_change' in x for x in lines)


def test_the_last_checkpoint_holds_a_trained_head_and_the_others_a_new_one(straight):
    method, _, work = straight
    biases = [
        torch.load(work / f'epoch_{n}.pth', weights_only=True)['state_dict']['head.fc_cls.bias'].abs().max()
        for n in (1, 2, 3)
    ]
    assert biases[2] > 0
    assert [float(b) for b in biases[:2]] == [0, 0] if method == 'DeepCluster' else biases[0] > 0


def test_resumed_at_the_end_of_an_epoch(straight, tmp_path):
    _, config, work = straight
    resumed = train(config, tmp_path / 'resumed', resume_from=str(work / 'epoch_1.pth'))
    assert differences(work / 'epoch_3.pth', resumed / 'epoch_3.pth') == []
    assert not (resumed / 'cluster_epoch_0.npy').exists()


@pytest.mark.parametrize('at', [6, 9])  # 6: the epoch is over, its clustering is not
def test_resumed_inside_an_epoch(straight, tmp_path, at):
    _, config, work = straight
    by_iter = ('checkpoint_config.by_epoch=False', f'checkpoint_config.interval={at}')
    stopped = train(config, tmp_path / 'stopped', *by_iter, stop_after=at)
    resumed = train(config, tmp_path / 'resumed', resume_from=str(stopped / f'iter_{at}.pth'))
    assert differences(work / 'epoch_3.pth', resumed / 'epoch_3.pth') == []


def test_loader_workers_see_new_labels(straight, tmp_path):
    method, _, work = straight
    with_workers = train(write(tmp_path, method, workers=1), tmp_path / 'work')
    for number in (1, 2):
        expected, got = (
            torch.load(folder / f'epoch_{number}.pth', weights_only=True)['state_dict']
            for folder in (work, with_workers)
        )
        assert all(torch.equal(expected[name], got[name]) for name in expected), number


def _both(config, folder):
    work = train(config, folder, 'data.imgs_per_gpu=2', launcher='pytorch')
    return torch.load(work / 'epoch_3.pth', weights_only=True)['deep_cluster']['labels'].tolist()


@pytest.mark.dist
@pytest.mark.parametrize('method', METHODS)
def test_two_processes_share_the_labels(tmp_path, method):
    one, two = run_ranks(_both, 2, write(tmp_path, method), tmp_path / 'work')
    assert one == two and set(one) == {0, 1, 2}


def test_more_clusters_than_images(tmp_path):
    config = write(tmp_path, 'DeepCluster')
    with pytest.raises(DataError, match='24 images cannot fill k=25 clusters'):
        train(config, tmp_path / 'work', 'custom_hooks.0.clustering.k=25', 'model.head.num_classes=25')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['custom_hooks.0.initial=False'], 'no labels to begin with: set initial=True'),
        (['custom_hooks.0.clustering.k=4'], 'makes k=4 clusters, but the head has num_classes=3'),
        (['custom_hooks.0.clustering.dims=4'], 'dims=4 .*is not a key of clustering'),
        (['custom_hooks.0.clustering.type=PIC'], "type='PIC' .*must be 'Kmeans'"),
        (['custom_hooks.0.interval=0'], 'interval=0 .*must be a whole number >= 1'),
        (['custom_hooks.0.init_memory=True'], 'DeepCluster has no memory_bank'),
        (['data.train.type=NPIDDataset'], 'data.train is a NPIDDataset: use DeepClusterDataset'),
        (
            [
                "custom_hooks=[{'type': 'ODCHook', 'centroids_update_interval': 1, 'deal_with_small_clusters_interval': 1, "
                "'evaluate_interval': 1, 'reweight': True, 'reweight_pow': 0.5}]"
            ],
            'ODCHook needs a model with an ODCMemory',
        ),
    ],
)
def test_what_does_not_fit_is_said_before_training(tmp_path, options, message):
    with pytest.raises(SelfSupError, match=message) as caught:
        train(write(tmp_path, 'DeepCluster'), tmp_path / 'work', *options)
    assert isinstance(caught.value, ConfigError)


def test_odc_reweights_only_when_asked(tmp_path):
    config = write(tmp_path, 'ODC')
    weights = {}
    for asked in (True, False):
        options = (f'custom_hooks.1.reweight={asked}', 'total_epochs=1', 'optimizer_config.update_interval=3')
        work = train(config, tmp_path / str(asked), *options)
        weights[asked] = torch.load(work / 'epoch_1.pth', weights_only=True)['state_dict']['loss_weight']
    assert torch.equal(weights[False], torch.ones(3))
    assert float(weights[True].std()) > 0


def test_change_of_labels_does_not_depend_on_numbers():
    old = torch.tensor([0, 0, 1, 1, 2, 2])
    assert label_change(old, torch.tensor([2, 2, 0, 0, 1, 1])) == 0
    assert label_change(old, torch.tensor([2, 2, 0, 1, 1, 1])) == pytest.approx(1 / 6)
