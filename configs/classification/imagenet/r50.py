"""Supervised ResNet-50 (arXiv:1512.03385) on ImageNet, 90 epochs, global batch 256.

Reproduces: no result of OpenSelfSup (its zoo takes torchvision's weights, 76.1 top-1).
Command: bash tools/dist_train.sh configs/classification/imagenet/r50.py 8
Hardware and time: 8 GPUs (lr is for 8 x 32 images); not run here.
Expected: not run here.
"""

_base_ = '../../_base_/default_runtime.py'

img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
to_tensor = [dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]
model = dict(
    type='Classification',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=2048, num_classes=1000),
)
data = dict(
    imgs_per_gpu=32,
    workers_per_gpu=4,
    train=dict(
        type='ClassificationDataset',
        data_source=dict(type='ImageNet', root='data/imagenet/train', list_file='data/imagenet/meta/train_labeled.txt'),
        pipeline=[dict(type='RandomResizedCrop', size=224), dict(type='RandomHorizontalFlip'), *to_tensor]),
    val=dict(
        type='ClassificationDataset',
        data_source=dict(type='ImageNet', root='data/imagenet/val', list_file='data/imagenet/meta/val_labeled.txt'),
        pipeline=[dict(type='Resize', size=256), dict(type='CenterCrop', size=224), *to_tensor]),
)
optimizer = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
lr_config = dict(policy='step', step=[30, 60, 90])  # as published; the last step lies after the last epoch
custom_hooks = [
    dict(type='ValidateHook', dataset=data['val'], initial=True, interval=10, imgs_per_gpu=32, workers_per_gpu=4,
         eval_param=dict(topk=(1, 5))),
]
total_epochs = 90
