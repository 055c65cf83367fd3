"""SwAV (arXiv:2006.09882), ResNet-50, ImageNet, 200 epochs, global batch 256 with a queue, 2 crops of 224 and 6 of 96 pixels.

Reproduces: the authors' run of batch 256 (scripts/swav_200ep_bs256_pretrain.sh): ImageNet linear 72.7 top-1.
Command: bash tools/dist_train.sh configs/selfsup/swav/r50_bs256_ep200.py 4
Hardware and time: 4 GPUs (lr, queue and freeze are for 4 x 64 images); not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../_base_/imagenet_multi_crop.py', '../../_base_/default_runtime.py']

model = dict(
    type='SwAV',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    neck=dict(type='MLPNeck', in_channels=2048, hid_channels=2048, out_channels=128, norm='SyncBN', bias=True),
    num_prototypes=3000,
    feat_dim=128,
    queue_len=3840,
    queue_start=15,
)
steps = [
    _base_.flip,
    dict(type='RandomAppliedTrans', p=0.8, transforms=[dict(type='ColorJitter', brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)]),
    _base_.grey,
    _base_.often,
    dict(type='ToTensor'),
    dict(type='Normalize', mean=[0.485, 0.456, 0.406], std=[0.228, 0.224, 0.225]),  # 0.228: as in the authors' code
]
large = [dict(type='RandomResizedCrop', size=224, scale=(0.14, 1.0)), *steps]
small = [dict(type='RandomResizedCrop', size=96, scale=(0.05, 0.14)), *steps]
data = dict(train=dict(views=[dict(number=2, pipeline=large), dict(number=6, pipeline=small)]))
optimizer = dict(type='LARC', lr=0.6, weight_decay=1e-6, momentum=0.9)
optimizer_config = dict(freeze=[dict(parameters=r'^prototypes\.', iters=5005)])  # one epoch
lr_config = dict(policy='WarmupCosine', min_lr=0.0006)
use_fp16 = True
total_epochs = 200
