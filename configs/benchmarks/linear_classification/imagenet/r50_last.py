"""Linear classification of ImageNet on the pooled features of a frozen ResNet-50, 100 epochs, global batch 256.

Reproduces: the "last" column of OpenSelfSup's model zoo, e.g. MoCo v2 67.69 top-1.
Command: bash benchmarks/dist_train_linear.sh configs/benchmarks/linear_classification/imagenet/r50_last.py BACKBONE.pth
Hardware and time: 8 GPUs (lr is for 8 x 32 images); not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../../_base_/imagenet_labelled.py', '../../../_base_/default_runtime.py']

model = dict(
    type='Classification',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], frozen_stages=4, norm_cfg=dict(type='BN')),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=2048, num_classes=1000),
)
optimizer = dict(type='SGD', lr=30., momentum=0.9, weight_decay=0.)
lr_config = dict(policy='step', step=[60, 80])
custom_hooks = [dict(interval=1, **_base_.validation)]
total_epochs = 100
