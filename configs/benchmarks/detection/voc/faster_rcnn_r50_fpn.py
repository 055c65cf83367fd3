"""Faster R-CNN R50-FPN on PASCAL VOC: VOC2007 and VOC2012 trainval -> VOC2007 test, 24,000 steps of 16 images, SyncBN, nothing frozen.

Reproduces: nothing published: the documented VOC numbers are of R50-C4 heads, which benchmarks/detection has for detectron2.
Command: bash benchmarks/dist_train_det.sh configs/benchmarks/detection/voc/faster_rcnn_r50_fpn.py BACKBONE.pth 8
Hardware and time: 8 GPUs with 2 images each; not run here.
Expected: not run here.
"""

_base_ = '../../../_base_/default_runtime.py'

prefetch = True
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
model = dict(
    type='Detection',
    backbone=dict(type='ResNet', depth=50, out_indices=(1, 2, 3, 4), norm_cfg=dict(type='SyncBN')),
    neck=dict(type='FPN', in_channels=(256, 512, 1024, 2048), norm_cfg=dict(type='SyncBN')),
    num_classes=20,
    head_norm_cfg=dict(type='SyncBN'),
    rcnn=dict(rpn_post_nms_top_n_train=1000),
)
voc = 'data/VOCdevkit'
val = dict(
    type='DetectionDataset',
    data_source=dict(type='VOCDetection', root=voc, splits=('VOC2007/test',), bad_boxes='clip'),
    pipeline=[dict(type='RandomShortestSize', min_size=800, max_size=1333)],
)
data = dict(
    imgs_per_gpu=2,
    workers_per_gpu=4,
    drop_last=True,
    train=dict(
        type='DetectionDataset',
        data_source=dict(type='VOCDetection', root=voc, splits=('VOC2007/trainval', 'VOC2012/trainval'), keep_empty=False,
                         bad_boxes='clip'),
        pipeline=[dict(type='RandomShortestSize', min_size=tuple(range(480, 801, 32)), max_size=1333), dict(type='RandomHorizontalFlip')],
    ),
    val=val,
)
custom_hooks = [dict(type='DetectionHook', dataset=val, interval=8, imgs_per_gpu=2, workers_per_gpu=4, prefetch=True,
                     img_norm_cfg=img_norm_cfg)]
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4, paramwise_options={r'(bn\d?|\.1)\.(weight|bias)$': dict(
    max_ndim=1, weight_decay=0.)})
lr_config = dict(policy='step', by_epoch=False, step=[18000, 22000], warmup='linear', warmup_iters=100, warmup_ratio=0.001)
checkpoint_config = dict(interval=3000)
total_iters = 24000
