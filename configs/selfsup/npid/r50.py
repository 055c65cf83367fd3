"""NPID, instance discrimination (arXiv:1805.01978), ResNet-50, ImageNet, 200 epochs, global batch 256.

Reproduces: OpenSelfSup's model zoo, npid/r50: VOC07 SVM 74.50 mAP, ImageNet linear 56.60 top-1 (pooled features).
Command: bash tools/dist_train.sh configs/selfsup/npid/r50.py 8
Hardware and time: 8 GPUs (lr is for 8 x 32 images); not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../_base_/imagenet_views.py', '../../_base_/default_runtime.py']

model = dict(
    type='NPID',
    neg_num=65536,
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    neck=dict(type='LinearNeck', in_channels=2048, out_channels=128),
    head=dict(type='ContrastiveHead', temperature=0.07),
    memory_bank=dict(type='SimpleMemory', length=1281167, feat_dim=128, momentum=0.5),
)
data = dict(
    train=dict(type='NPIDDataset', pipeline=[
        dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.0)),
        dict(type='RandomGrayscale', p=0.2),
        dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4),
        dict(type='RandomHorizontalFlip'),
        dict(type='ToTensor'),
        dict(type='Normalize', **_base_.img_norm_cfg),
    ]),
)
optimizer = dict(type='SGD', lr=0.03, momentum=0.9, weight_decay=1e-4)
lr_config = dict(policy='step', step=[120, 160])
total_epochs = 200
