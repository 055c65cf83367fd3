"""MoCo v2 (arXiv:2003.04297) on 20,000 images of CIFAR-10: ResNet-18 blocks, three stages, 32 channels wide, in minutes on two CPU cores.

Reproduces: nothing published; shows that MoCo learns real images within a small budget. Not a full ResNet-18: 0.7 M parameters.
Command: python tools/train.py configs/selfsup/moco/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: about 12 minutes on 2 CPU cores with bf16 instructions (0.66 s per step of 256 images, 936 steps, three evaluations);
    without such instructions drop use_fp16.
Expected: kNN-20 top-1 35.6 untrained -> 50.4 after 12 epochs (seed 0, measured with this file)
"""

_base_ = '../../_base_/default_runtime.py'

model = dict(
    type='MOCO',
    queue_len=4096,
    feat_dim=128,
    momentum=0.99,
    backbone=dict(type='ResNet', depth=18, num_stages=3, base_channels=32, stem='cifar', out_indices=(3,)),
    neck=dict(type='NonLinearNeckV1', in_channels=128, hid_channels=256, out_channels=128, with_avg_pool=True),
    head=dict(type='ContrastiveHead', temperature=0.1),
)
img_norm_cfg = dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2470, 0.2435, 0.2616])
tensor_steps = [dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]
data = dict(
    imgs_per_gpu=256,
    workers_per_gpu=1,
    drop_last=True,
    train=dict(
        type='ContrastiveDataset',
        data_source=dict(type='ImageFolder', root='data/cifar10/train'),
        pipeline=[
            dict(type='RandomResizedCrop', size=32, scale=(0.2, 1.0)),
            dict(type='RandomAppliedTrans', p=0.8, transforms=[
                dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)]),
            dict(type='RandomGrayscale', p=0.2),
            dict(type='RandomHorizontalFlip'),
            *tensor_steps,
        ],
    ),
)
optimizer = dict(type='AdamW', lr=2e-3, weight_decay=1e-4)
lr_config = dict(policy='CosineAnnealing', by_epoch=False, min_lr=0, warmup='linear', warmup_iters=20, warmup_ratio=0.1)
custom_hooks = [
    dict(
        type='KNNHook',
        k=20,
        interval=6,
        train=dict(type='ClassificationDataset', data_source=dict(type='ImageFolder', root='data/cifar10/train'), pipeline=tensor_steps),
        test=dict(type='ClassificationDataset', data_source=dict(type='ImageFolder', root='data/cifar10/test'), pipeline=tensor_steps),
    )
]
use_fp16 = True  # bf16 on the CPU
channels_last = True
log_config = dict(interval=10)
checkpoint_config = dict(interval=1, max_keep_ckpts=2)
total_epochs = 12
