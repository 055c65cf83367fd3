"""Barlow Twins (arXiv:2103.03230), ResNet-50, ImageNet, 1000 epochs, global batch 2048, mixed precision.

Reproduces: the authors' released network: ImageNet linear 73.5 top-1 (by their account 71.4 after 300 epochs).
Command: bash tools/dist_train.sh configs/selfsup/barlow_twins/r50_ep1000.py 8
Hardware and time: 8 GPUs (lr is for 8 x 256 images); not run here. The authors: 32 V100, about 124 hours.
Expected: the reference result; not run here.
"""

_base_ = ['../../_base_/imagenet_byol_views.py', '../../_base_/default_runtime.py']

batch = 2048
model = dict(
    type='BarlowTwins',
    scale=1 / 16,  # on 16 processes, as in the authors' README, their gradients are 1/16 of those of the loss; here they would not be
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN'), zero_init_residual=True),
    neck=dict(type='MLPNeck', in_channels=2048, hid_channels=8192, out_channels=8192, num_layers=3, norm='SyncBN', last_bias=False),
)
data = dict(imgs_per_gpu=256)
optimizer = dict(
    type='BarlowLARS', lr=0.2 * batch / 256, momentum=0.9, weight_decay=1e-6,
    paramwise_options={'': dict(max_ndim=1, lr=0.0048 * batch / 256)})
lr_config = dict(
    policy='WarmupCosine', min_lr_ratio=0.001, warmup='linear', warmup_iters=10, warmup_ratio=0., warmup_by_epoch=True)
use_fp16 = True
total_epochs = 1000
