"""Mask R-CNN on 120 images of shapes, with the small ResNet-18 of the CIFAR-10 runs: shows the whole way in a minute or two.

Its backbone is that of configs/selfsup/spark/r18_cifar10_small.py; `python benchmarks/detection/miniature.py data/shapes` draws the images.

Reproduces: nothing published.
Command: bash benchmarks/dist_train_det.sh configs/benchmarks/detection/shapes/mask_rcnn_r18_fpn.py BACKBONE.pth 1
Hardware and time: one thread of a shared CPU, 95 seconds with the evaluations before and after.
Expected: AP 38.5, AP50 59.1, mask AP 40.6 from a SparK backbone; 36.8, 60.1, 41.3 from random weights (AP50 0.0 untrained), seed 0.
"""

_base_ = '../../../_base_/default_runtime.py'

prefetch = True
img_norm_cfg = dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2470, 0.2435, 0.2616])
model = dict(
    type='Detection',
    backbone=dict(type='ResNet', depth=18, base_channels=32, stem='cifar', out_indices=(2, 3)),
    neck=dict(type='FPN', in_channels=(64, 128), out_channels=64),
    num_classes=3,
    masks=True,
    box_channels=128,
    anchor_sizes=(16, 24, 36),
    rcnn=dict(rpn_pre_nms_top_n_train=500, rpn_post_nms_top_n_train=200, rpn_pre_nms_top_n_test=300, rpn_post_nms_top_n_test=100,
              box_batch_size_per_image=64, box_detections_per_img=20),
)
val = dict(type='DetectionDataset', data_source=dict(type='COCO', root='data/shapes/coco/val', ann_file='data/shapes/coco/val.json'),
           pipeline=[])
data = dict(
    imgs_per_gpu=4,
    workers_per_gpu=0,
    drop_last=True,
    train=dict(
        type='DetectionDataset',
        data_source=dict(type='COCO', root='data/shapes/coco/train', ann_file='data/shapes/coco/train.json', masks=True, keep_empty=False),
        pipeline=[dict(type='RandomShortestSize', min_size=(56, 64, 72), max_size=112), dict(type='RandomHorizontalFlip')],
        masks=True,
    ),
    val=val,
)
custom_hooks = [dict(type='DetectionHook', dataset=val, interval=100, initial=True, imgs_per_gpu=4, prefetch=True,
                     img_norm_cfg=img_norm_cfg)]
optimizer = dict(type='AdamW', lr=1e-3, weight_decay=1e-4)
lr_config = dict(policy='CosineAnnealing', by_epoch=False, min_lr=0, warmup='linear', warmup_iters=10, warmup_ratio=0.1)
checkpoint_config = dict(interval=50)
log_config = dict(interval=10)
total_iters = 100
