"""Mask R-CNN ConvNeXt-T-FPN on COCO, 12 epochs of 16 images per step.

ConvNeXt's detection recipe (arXiv:2201.03545, appendix A.3) at a third of its length: AdamW, layer decay 0.95, drop path 0.4; a layer
norm on each map before the pyramid.

Reproduces: nothing published: the paper trains 36 epochs (46.2 box AP, 41.7 mask AP, table 3).
Command: bash benchmarks/dist_train_det.sh configs/benchmarks/detection/coco/mask_rcnn_convnext_tiny_fpn_1x.py BACKBONE.pth 8
Hardware and time: 8 GPUs with 2 images each; not run here.
Expected: not run here.
"""

_base_ = ['../../../_base_/mask_rcnn_coco.py', '../../../_base_/default_runtime.py']

model = dict(
    backbone=dict(type='ConvNeXt', arch='tiny', out_indices=(1, 2, 3, 4), drop_path_rate=0.4),
    neck=dict(in_channels=(96, 192, 384, 768), input_norm=True),
)
optimizer = dict(
    type='AdamW',
    lr=2e-4,
    betas=(0.9, 0.999),
    weight_decay=0.05,
    layer_decay=dict(rate=0.95, groups='spark'),
    paramwise_options={'': dict(max_ndim=1, weight_decay=0.)},
)
lr_config = dict(policy='step', step=[8, 11], warmup='linear', warmup_iters=500, warmup_ratio=0.001)
use_fp16 = True
checkpoint_config = dict(interval=1)
total_epochs = 12
