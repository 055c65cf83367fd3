"""MoCo v2 on the 1,797 handwritten digits that ship with scikit-learn: what `make demo` runs.

Reproduces: nothing published; the smallest real run of the framework (no download, no GPU).
Command: make demo, or python tools/train.py configs/quickstart/moco_digits.py
Hardware and time: 2.5 minutes on 2 CPU cores (200 steps of 256 images)
Expected: kNN-20 top-1 93.9 untrained -> 98.9, 1-shot 44.3 -> 74.3 (seed 0, measured by make demo)
"""

_base_ = '../_base_/default_runtime.py'

model = dict(
    type='MOCO',
    queue_len=512,
    feat_dim=64,
    momentum=0.99,
    backbone=dict(type='ResNet', depth=18, stage_blocks=(1, 1, 1, 1), base_channels=24, stem='cifar', out_indices=(4,)),
    neck=dict(type='NonLinearNeckV1', in_channels=192, hid_channels=192, out_channels=64, with_avg_pool=True),
    head=dict(type='ContrastiveHead', temperature=0.2),
)
img_norm_cfg = dict(mean=[0.3, 0.3, 0.3], std=[0.35, 0.35, 0.35])
data = dict(
    imgs_per_gpu=256,
    workers_per_gpu=0,
    drop_last=True,
    train=dict(
        type='ContrastiveDataset',
        data_source=dict(type='Digits', split='train', size=24),
        pipeline=[
            dict(type='RandomAffine', degrees=10, translate=(0.08, 0.08)),
            dict(type='RandomResizedCrop', size=24, scale=(0.6, 1.0), ratio=(0.8, 1.25)),
            dict(type='RandomAppliedTrans', transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4)], p=0.8),
            dict(type='RandomAppliedTrans', transforms=[dict(type='GaussianBlur', sigma_min=0.1, sigma_max=1.0)], p=0.5),
            dict(type='ToTensor'),
            dict(type='Normalize', **img_norm_cfg),
        ],
    ),
)
optimizer = dict(type='AdamW', lr=2e-3, weight_decay=1e-4)
lr_config = dict(policy='CosineAnnealing', by_epoch=False, min_lr=0, warmup='linear', warmup_iters=10, warmup_ratio=0.1)
log_config = dict(interval=5)
checkpoint_config = dict(interval=10)
total_epochs = 40
