"""Linear classification of ImageNet on five layers of a frozen ResNet-50, 90 epochs, global batch 256.

Reproduces: the layer columns of OpenSelfSup's model zoo, e.g. MoCo v2 14.74, 32.81, 44.95, 61.61, 66.73 top-1.
Command: bash benchmarks/dist_train_linear.sh configs/benchmarks/linear_classification/imagenet/r50_multihead.py BACKBONE.pth
Hardware and time: 8 GPUs (lr is for 8 x 32 images); not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../../_base_/linear_multihead_r50.py', '../../../_base_/imagenet_labelled.py', '../../../_base_/default_runtime.py']

data = dict(train=dict(pipeline=[
    dict(type='RandomResizedCrop', size=224),
    dict(type='RandomHorizontalFlip'),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.),
    dict(type='ToTensor'),
    dict(type='Lighting'),
    dict(type='Normalize', **_base_.img_norm_cfg),
]))
lr_config = dict(policy='step', step=[30, 60, 90])  # as published; the last step lies after the last epoch
custom_hooks = [dict(interval=10, **_base_.validation)]
total_epochs = 90
