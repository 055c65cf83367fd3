"""BYOL (arXiv:2006.07733), ResNet-50, ImageNet, 200 epochs, global batch 256, plain batch norm.

Reproduces: no published result; a config of OpenSelfSup, which took the paper's 1000-epoch settings for 200 epochs.
Command: bash tools/dist_train.sh configs/selfsup/byol/r50_bs256_ep200.py 8
Hardware and time: 8 GPUs (lr is for 8 x 32 images); not run here.
Expected: below r50_bs2048_accumulate2_ep200_fp16.py; not run here.
"""

_base_ = ['../../_base_/imagenet_byol_views.py', '../../_base_/default_runtime.py']

model = dict(
    type='BYOL',
    base_momentum=0.996,
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='BN')),
    neck=dict(type='NonLinearNeckV2', in_channels=2048, hid_channels=4096, out_channels=256),
    head=dict(
        type='LatentPredictHead', size_average=True,
        predictor=dict(type='NonLinearNeckV2', in_channels=256, hid_channels=4096, out_channels=256, with_avg_pool=False)),
)
optimizer = dict(
    type='LARS', lr=0.2, weight_decay=1.5e-6, momentum=0.9,
    paramwise_options={
        r'(bn|gn)(\d+)?.(weight|bias)': dict(weight_decay=0., lars_exclude=True),
        'bias': dict(weight_decay=0., lars_exclude=True),
    })
lr_config = dict(policy='CosineAnnealing', min_lr=0., warmup='linear', warmup_iters=2, warmup_ratio=1e-4, warmup_by_epoch=True)
custom_hooks = [dict(type='BYOLHook', end_momentum=1., update_interval=1)]
total_epochs = 200
