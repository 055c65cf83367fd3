"""NNCLR (arXiv:2104.14548), ResNet-50, ImageNet, 1000 epochs, global batch 4096.

Reproduces: the paper: ImageNet linear near 75.4 top-1 without multi-crop; no official code is public.
Command: NNODES=4 NODE_RANK=0 MASTER_ADDR=10.0.0.1 bash tools/dist_train.sh configs/selfsup/nnclr/r50_bs4096_ep1000.py 8
Hardware and time: 32 GPUs with 128 images each; the learning rate follows the global batch; not run here.
Expected: near the paper's result; not run here.
"""

_base_ = ['../../_base_/imagenet_views.py', '../../_base_/default_runtime.py']

linear = dict(type='MLPNeck', norm='SyncBN', bias=True)
model = dict(
    type='NNCLR',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    neck=dict(**linear, in_channels=2048, hid_channels=2048, out_channels=256, num_layers=3, last_norm='SyncBN'),
    predictor=dict(**linear, in_channels=256, hid_channels=4096, out_channels=256, with_avg_pool=False),
    queue_len=98304,
    feat_dim=256,
    temperature=0.1,
)
jitter = [dict(type='ColorJitter', brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)]
blur = [dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0)]
data = dict(
    imgs_per_gpu=128,
    drop_last=True,
    train=dict(
        pipeline=[
            dict(type='RandomResizedCrop', size=224, scale=(0.08, 1.0), interpolation=3),  # 3: bicubic
            dict(type='RandomHorizontalFlip'),
            dict(type='RandomAppliedTrans', transforms=jitter, p=0.8),
            dict(type='RandomGrayscale', p=0.2),
            dict(type='RandomAppliedTrans', transforms=blur, p=0.5),
            dict(type='ToTensor'),
            dict(type='Normalize', **_base_.img_norm_cfg),
        ],
    ),
)
optimizer = dict(type='BarlowLARS', base_lr=0.3, weight_decay=1e-6, momentum=0.9)  # for 256 images
lr_config = dict(policy='WarmupCosine', min_lr=0., warmup='linear', warmup_iters=10, warmup_ratio=0., warmup_by_epoch=True)
use_fp16 = True
total_epochs = 1000
