"""MoCo v1 (arXiv:1911.05722), ResNet-50, ImageNet, 200 epochs, global batch 256.

Reproduces: OpenSelfSup's model zoo, moco/r50_v1: VOC07 SVM 79.18 mAP, ImageNet linear 61.02 top-1 (pooled features).
Command: bash tools/dist_train.sh configs/selfsup/moco/r50_v1.py 8
Hardware and time: 8 GPUs (lr is for 8 x 32 images); not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../_base_/moco_r50.py', '../../_base_/imagenet_views.py', '../../_base_/default_runtime.py']

model = dict(neck=dict(type='LinearNeck', in_channels=2048, out_channels=128), head=dict(temperature=0.07))
data = dict(
    drop_last=True,
    train=dict(pipeline=[
        dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.0)),
        dict(type='RandomGrayscale', p=0.2),
        dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4),
        dict(type='RandomHorizontalFlip'),
        dict(type='ToTensor'),
        dict(type='Normalize', **_base_.img_norm_cfg),
    ]),
)
lr_config = dict(policy='step', step=[120, 160])
