"""Supervised ResNet-50 (arXiv:1512.03385) with the ImageNet stem on CIFAR-10, 350 epochs, batch 128.

Reproduces: no published result; a config of OpenSelfSup.
Command: bash tools/dist_train.sh configs/classification/cifar10/r50.py 1
Hardware and time: 1 GPU (lr is for 128 images); not run here.
Expected: not run here.
"""

_base_ = '../../_base_/default_runtime.py'

img_norm_cfg = dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2023, 0.1994, 0.201])
to_tensor = [dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]
model = dict(
    type='Classification',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='BN')),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=2048, num_classes=10),
)
data = dict(
    imgs_per_gpu=128,
    workers_per_gpu=2,
    train=dict(
        type='ClassificationDataset',
        data_source=dict(type='Cifar10', root='data/cifar', split='train'),
        pipeline=[dict(type='RandomCrop', size=32, padding=4), dict(type='RandomHorizontalFlip'), *to_tensor]),
    val=dict(type='ClassificationDataset', data_source=dict(type='Cifar10', root='data/cifar', split='test'), pipeline=to_tensor),
)
optimizer = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4)
lr_config = dict(policy='step', step=[150, 250])
checkpoint_config = dict(interval=50)
custom_hooks = [
    dict(type='ValidateHook', dataset=data['val'], initial=True, interval=1, imgs_per_gpu=128, workers_per_gpu=2,
         eval_param=dict(topk=(1, 5))),
]
total_epochs = 350
