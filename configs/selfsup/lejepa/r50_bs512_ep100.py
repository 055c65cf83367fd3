"""LeJEPA (arXiv:2511.08544), ResNet-50, ImageNet, 100 epochs, global batch 512, 2 crops of 224 and 6 of 96 pixels.

Reproduces: no published result: the authors' settings for ImageNet (lambda 0.05, their views, AdamW with the weight decay they give for
    ResNets), with local crops of 96 pixels instead of 98, which divide by the stride of a ResNet.
Command: bash tools/dist_train.sh configs/selfsup/lejepa/r50_bs512_ep100.py 8
Hardware and time: 8 GPUs (lr and lambda are for 8 x 64 images); not run here.
Expected: unknown; not run here.
"""

_base_ = ['../../_base_/imagenet_multi_crop.py', '../../_base_/default_runtime.py']

model = dict(
    type='LeJEPA',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    neck=dict(
        type='MLPNeck', in_channels=2048, hid_channels=2048, out_channels=512, num_layers=3, norm='SyncBN', bias=True),
    sigreg_weight=0.05,
    num_slices=1024,
)
steps = [
    _base_.flip,
    dict(type='RandomAppliedTrans', p=0.8, transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)]),
    _base_.grey,
    _base_.often,
    dict(type='RandomAppliedTrans', transforms=[dict(type='Solarization')], p=0.2),
    dict(type='ToTensor'),
    dict(type='Normalize', **_base_.img_norm_cfg),
]
large = [dict(type='RandomResizedCrop', size=224, scale=(0.3, 1.0), interpolation=3), *steps]  # 3: bicubic
small = [dict(type='RandomResizedCrop', size=96, scale=(0.05, 0.3), interpolation=3), *steps]
data = dict(train=dict(views=[dict(number=2, pipeline=large), dict(number=6, pipeline=small)]))
optim_wrapper = dict(
    type='AmpOptimWrapper', dtype='bfloat16', optimizer=dict(type='AdamW', lr=5e-4, weight_decay=5e-4))
lr_config = dict(
    policy='WarmupCosine', min_lr_ratio=0.001, warmup='linear', warmup_iters=1, warmup_ratio=0.01, warmup_by_epoch=True)
total_epochs = 100
