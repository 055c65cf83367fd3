"""BYOL (arXiv:2006.07733), ResNet-50, ImageNet, 300 epochs, batch 4096 as 16 iterations of 256.

Reproduces: OpenSelfSup's model zoo, byol/r50_bs256_accumulate16_ep300: VOC07 SVM 86.58 mAP, ImageNet linear 72.35 top-1
    (paper, 300 epochs: 72.5).
Command: bash tools/dist_train.sh configs/selfsup/byol/r50_bs256_accumulate16_ep300.py 8
Hardware and time: 8 GPUs (lr is for 8 x 32 images, 16 times); not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../_base_/imagenet_byol_views.py', '../../_base_/default_runtime.py']

update_interval = 16
model = dict(
    type='BYOL',
    base_momentum=0.99,
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    neck=dict(type='NonLinearNeckSimCLR', in_channels=2048, hid_channels=4096, out_channels=256, num_layers=2,
              sync_bn=True, with_bias=True, with_last_bn=False),
    head=dict(
        type='LatentPredictHead', size_average=True,
        predictor=dict(type='NonLinearNeckSimCLR', in_channels=256, hid_channels=4096, out_channels=256, num_layers=2,
                       sync_bn=True, with_bias=True, with_last_bn=False, with_avg_pool=False)),
)
optimizer = dict(
    type='LARS', lr=4.8, weight_decay=1e-6, momentum=0.9,
    paramwise_options={
        r'(bn|gn)(\d+)?.(weight|bias)': dict(weight_decay=0., lars_exclude=True),
        'bias': dict(weight_decay=0., lars_exclude=True),
    })
optimizer_config = dict(update_interval=update_interval)
lr_config = dict(policy='CosineAnnealing', min_lr=0., warmup='linear', warmup_iters=10, warmup_ratio=1e-4, warmup_by_epoch=True)
custom_hooks = [dict(type='BYOLHook', end_momentum=1., update_interval=update_interval)]
total_epochs = 300
