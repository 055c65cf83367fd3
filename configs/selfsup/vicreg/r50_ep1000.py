"""VICReg (arXiv:2105.04906), ResNet-50, ImageNet, 1000 epochs, global batch 2048, mixed precision.

Reproduces: the authors' released network: ImageNet linear 73.2 top-1 (paper, 100 epochs with a batch of 512: 68.3).
Command: bash tools/dist_train.sh configs/selfsup/vicreg/r50_ep1000.py 8
Hardware and time: 8 GPUs (lr is for 8 x 256 images); not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../_base_/imagenet_byol_views.py', '../../_base_/default_runtime.py']

model = dict(
    type='VICReg',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN'), zero_init_residual=True),
    neck=dict(type='MLPNeck', in_channels=2048, hid_channels=8192, out_channels=8192, num_layers=3,
              norm='SyncBN', bias=True, last_bias=False),
)
data = dict(imgs_per_gpu=256)
optimizer = dict(type='BarlowLARS', lr=0.2 * 2048 / 256, momentum=0.9, weight_decay=1e-6)
lr_config = dict(
    policy='WarmupCosine', min_lr_ratio=0.001, warmup='linear', warmup_iters=10, warmup_ratio=0., warmup_by_epoch=True)
use_fp16 = True
total_epochs = 1000
