"""Mask R-CNN R50-FPN on COCO, 90,000 steps of 16 images ("1x"), nothing frozen, SyncBN everywhere, as MoCo's detectors.

For frozen batch norms and the first stage frozen (what detectron2 does with supervised weights), add --cfg-options
model.backbone.frozen_stages=1 model.backbone.norm_eval=True
model.backbone.norm_cfg.requires_grad=False model.backbone.norm_cfg.type=BN model.neck.norm_cfg=None model.head_norm_cfg=None

Reproduces: MoCo's R50-FPN 1x (arXiv:1911.05722, table 5a: 38.5 box AP, 35.1 mask AP; supervised 38.9, 35.4) with torchvision's heads.
Command: bash benchmarks/dist_train_det.sh configs/benchmarks/detection/coco/mask_rcnn_r50_fpn_1x.py BACKBONE.pth 8
Hardware and time: 8 GPUs with 2 images each; not run here.
Expected: not run here.
"""

_base_ = ['../../../_base_/mask_rcnn_coco.py', '../../../_base_/default_runtime.py']

model = dict(
    backbone=dict(type='ResNet', depth=50, out_indices=(1, 2, 3, 4), norm_cfg=dict(type='SyncBN')),
    neck=dict(in_channels=(256, 512, 1024, 2048), norm_cfg=dict(type='SyncBN')),
    head_norm_cfg=dict(type='SyncBN'),
)
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4, paramwise_options={r'(bn\d?|\.1)\.(weight|bias)$': dict(
    max_ndim=1, weight_decay=0.)})
lr_config = dict(policy='step', by_epoch=False, step=[60000, 80000], warmup='linear', warmup_iters=1000, warmup_ratio=0.001)
checkpoint_config = dict(interval=5000)
total_iters = 90000
