"""Linear classification of Places205 on five layers of a frozen ResNet-50, 28 epochs, global batch 256.

Reproduces: the Places205 columns of OpenSelfSup's model zoo, e.g. MoCo v2 21.88, 35.75, 43.65, 49.99, 52.57 top-1.
Command: bash benchmarks/dist_train_linear.sh configs/benchmarks/linear_classification/places205/r50_multihead.py BACKBONE.pth
Hardware and time: 8 GPUs (lr is for 8 x 32 images); not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../../_base_/linear_multihead_r50.py', '../../../_base_/imagenet_labelled.py', '../../../_base_/default_runtime.py']

model = dict(head=dict(num_classes=205))
data = dict(
    train=dict(
        data_source=dict(type='Places205', root='data/places205/train', list_file='data/places205/meta/train_labeled.txt'),
        pipeline=[dict(type='Resize', size=256), dict(type='CenterCrop', size=256), dict(type='RandomCrop', size=224),
                  dict(type='RandomHorizontalFlip'), *_base_.to_tensor]),
    val=dict(data_source=dict(type='Places205', root='data/places205/val', list_file='data/places205/meta/val_labeled.txt')))
lr_config = dict(policy='step', step=[7, 14, 21])
val = dict(type='ClassificationDataset', pipeline=_base_.data.val.pipeline, **data['val'])
custom_hooks = [dict(_base_.validation, interval=10, dataset=val)]
total_epochs = 28
