"""Rotation prediction (arXiv:1803.07728), ResNet-50, ImageNet, 70 epochs, global batch 128 images in 4 rotations.

Reproduces: OpenSelfSup's model zoo, rotation_pred/r50: VOC07 SVM 67.38 mAP (layer 4), ImageNet linear 47.01 top-1 (pooled features).
Command: bash tools/dist_train.sh configs/selfsup/rotation_pred/r50.py 8
Hardware and time: 8 GPUs (lr is for 8 x 16 images); not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../_base_/imagenet_views.py', '../../_base_/default_runtime.py']

model = dict(
    type='RotationPred',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=2048, num_classes=4),
)
data = dict(
    imgs_per_gpu=16,
    train=dict(
        type='RotationPredDataset',
        pipeline=[dict(type='RandomResizedCrop', size=224), dict(type='RandomHorizontalFlip'), dict(type='ToTensor'),
                  dict(type='Normalize', **_base_.img_norm_cfg)]),
)
optimizer = dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=1e-4)
lr_config = dict(policy='step', step=[30, 50], warmup='linear', warmup_iters=5, warmup_ratio=0.1, warmup_by_epoch=True)
total_epochs = 70
