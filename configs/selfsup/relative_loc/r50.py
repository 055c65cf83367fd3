"""Relative patch location (arXiv:1505.05192), ResNet-50, ImageNet, 70 epochs, global batch 512.

Reproduces: OpenSelfSup's model zoo, relative_loc/r50: VOC07 SVM 64.78 mAP (layer 4), ImageNet linear 38.83 top-1 (pooled features).
Command: bash tools/dist_train.sh configs/selfsup/relative_loc/r50.py 8
Hardware and time: 8 GPUs (lr is for 8 x 64 images); not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../_base_/imagenet_views.py', '../../_base_/default_runtime.py']

model = dict(
    type='RelativeLoc',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='BN')),
    neck=dict(type='RelativeLocNeck', in_channels=2048, out_channels=4096),
    head=dict(type='ClsHead', in_channels=4096, num_classes=8),
)
data = dict(
    imgs_per_gpu=64,
    train=dict(
        type='RelativeLocDataset',
        pipeline=[dict(type='Resize', size=292), dict(type='RandomCrop', size=255), dict(type='RandomGrayscale', p=0.66)],
        format_pipeline=[dict(type='ToTensor'), dict(type='Normalize', **_base_.img_norm_cfg)]),
)
optimizer = dict(
    type='SGD', lr=0.2, momentum=0.9, weight_decay=1e-4,
    paramwise_options={r'\Aneck.': dict(weight_decay=5e-4), r'\Ahead.': dict(weight_decay=5e-4)})
lr_config = dict(policy='step', step=[30, 50], warmup='linear', warmup_iters=5, warmup_ratio=0.1, warmup_by_epoch=True)
total_epochs = 70
