"""Mask R-CNN with a feature pyramid on COCO 2017: data and heads.

Training: the shorter side is one of 640, 672, ..., 800 pixels, the longer at most 1333; flips. Evaluation at 800. 16 images per step.
Images in data/coco/{train2017,val2017}, annotations in data/coco/annotations.
"""

prefetch = True
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
model = dict(
    type='Detection',
    neck=dict(type='FPN', out_channels=256),
    num_classes=80,
    masks=True,
    rcnn=dict(rpn_post_nms_top_n_train=1000),
)
annotations = 'data/coco/annotations/instances_{}2017.json'
val = dict(
    type='DetectionDataset',
    data_source=dict(type='COCO', root='data/coco/val2017', ann_file=annotations.format('val'), bad_boxes='clip'),
    pipeline=[dict(type='RandomShortestSize', min_size=800, max_size=1333)],
)
data = dict(
    imgs_per_gpu=2,
    workers_per_gpu=4,
    drop_last=True,
    train=dict(
        type='DetectionDataset',
        data_source=dict(type='COCO', root='data/coco/train2017', ann_file=annotations.format('train'), masks=True, keep_empty=False,
                         bad_boxes='clip'),
        pipeline=[
            dict(type='RandomShortestSize', min_size=(640, 672, 704, 736, 768, 800), max_size=1333),
            dict(type='RandomHorizontalFlip'),
        ],
        masks=True,
    ),
    val=val,
)
custom_hooks = [dict(type='DetectionHook', dataset=val, interval=4, imgs_per_gpu=2, workers_per_gpu=4, prefetch=True,
                     img_norm_cfg=img_norm_cfg)]
