"""MoCo v3 (arXiv:2104.02057), ResNet-50, ImageNet, 100 epochs, global batch 4096.

Reproduces: the authors' README: ImageNet linear 68.9 top-1; with total_epochs=300 and optimizer.base_lr=0.3 72.8; with total_epochs=1000,
    optimizer.base_lr=0.3, optimizer.weight_decay=1.5e-6 and model.base_momentum=0.996 74.6.
Command: NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 bash tools/dist_train.sh configs/selfsup/moco_v3/r50_bs4096_ep100.py 8
Hardware and time: 16 GPUs with 256 images each; the learning rate follows the global batch; not run here.
Expected: the authors' result; not run here.
"""

_base_ = ['../../_base_/imagenet_byol_views.py', '../../_base_/default_runtime.py']

model = dict(
    type='MoCoV3',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN'), zero_init_residual=True),
    neck=dict(type='MLPNeck', in_channels=2048, hid_channels=4096, out_channels=256, norm='SyncBN', last_norm='SyncBN-', last_bias=False),
    predictor=dict(
        type='MLPNeck', in_channels=256, hid_channels=4096, out_channels=256, norm='SyncBN', last_bias=False, with_avg_pool=False),
    temperature=1.0,
    base_momentum=0.99,
)
crop = [dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.0))]  # bilinear, unlike BYOL's
ends = [dict(type='RandomHorizontalFlip'), *_base_.to_tensor]
always = [dict(type='RandomAppliedTrans', transforms=_base_.blur, p=1.0)]
seldom = [dict(type='RandomAppliedTrans', transforms=_base_.blur, p=0.1)]
data = dict(
    imgs_per_gpu=256,
    drop_last=True,
    train=dict(
        pipeline1=[*crop, *_base_.colour, *always, *ends],
        pipeline2=[*crop, *_base_.colour, *seldom, *_base_.solarize, *ends],
    ),
)
optimizer = dict(type='BarlowLARS', base_lr=0.6, weight_decay=1e-6, momentum=0.9)  # for 256 images
lr_config = dict(policy='WarmupCosine', min_lr=0., warmup='linear', warmup_iters=10, warmup_ratio=0., warmup_by_epoch=True)
use_fp16 = True
total_epochs = 100
