"""A detector small enough for tests, on the shapes of benchmarks/detection/miniature.py."""

from __future__ import annotations

from pathlib import Path

from benchmarks.detection.miniature import write_miniature

CONFIG = '''"""Mask R-CNN of 0.3 M parameters."""
prefetch = True
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
model = dict(
    type='Detection',
    backbone=dict(type='ResNet', depth=18, stage_blocks=(1, 1, 1, 1), base_channels=16, stem='cifar', out_indices=(2, 3)),
    neck=dict(type='FPN', in_channels=(32, 64), out_channels=32), num_classes=3, masks=True, box_channels=64,
    anchor_sizes=(16, 24, 36),
    rcnn=dict(rpn_pre_nms_top_n_train=200, rpn_post_nms_top_n_train=100, rpn_pre_nms_top_n_test=100, rpn_post_nms_top_n_test=50,
              box_batch_size_per_image=32, box_detections_per_img=10))
root = {root!r}
data = dict(
    imgs_per_gpu=4, workers_per_gpu=0, drop_last=True,
    train=dict(
        type='DetectionDataset', masks=True,
        data_source=dict(type='COCO', root=root + '/coco/train', ann_file=root + '/coco/train.json', masks=True, keep_empty=False),
        pipeline=[dict(type='RandomShortestSize', min_size=(56, 64, 72), max_size=112), dict(type='RandomHorizontalFlip')]),
    val=dict(type='DetectionDataset', data_source=dict(type='COCO', root=root + '/coco/val', ann_file=root + '/coco/val.json'),
             pipeline=[]))
optimizer = dict(type='AdamW', lr=3e-3, weight_decay=1e-4)
lr_config = dict(policy='CosineAnnealing', by_epoch=False, min_lr=0, warmup='linear', warmup_iters=5, warmup_ratio=0.1)
checkpoint_config = dict(interval=2)
log_config = dict(interval=1)
total_iters = 4
'''
IMAGES = {'train': 24, 'val': 12}


def write_config(folder: Path) -> Path:
    """A config in `folder`, images beside it."""
    write_miniature(folder / 'shapes', IMAGES)
    path = folder / 'tiny_det.py'
    path.write_text(CONFIG.format(root=str(folder / 'shapes')))
    return path
