"""Distillation (losses of arXiv:2312.06709) of a classifier trained here into an equal network without labels, on images of CIFAR-10.

Reproduces: nothing published; benchmarks/small/distill.py trains the teacher on one half of the images and the student on the other.
Command: python tools/train.py configs/selfsup/distill/r18_cifar10_small.py (after configs/classification/cifar10/r18_small.py, or with
    --cfg-options model.teachers.0.file=ANY_OTHER)
Hardware and time: 2 CPU cores with bf16 instructions, 5 minutes; without such instructions drop use_fp16.
Expected: not measured yet; benchmarks/small/distill.py measures it
"""

_base_ = '../../_base_/cifar10_small.py'

teacher = 'work_dirs/classification/cifar10/r18_small/latest.pth'
network = dict(type='ResNet', depth=18, num_stages=3, base_channels=32, stem='cifar', out_indices=(3,))
model = dict(
    type='Distill',
    teachers=[dict(type='FileTeacher', file=teacher, backbone=network, **_base_.img_norm_cfg)],
    img_norm_cfg=_base_.img_norm_cfg,
)
data = dict(train=dict(type='ExtractDataset', pipeline=[
    dict(type='RandomResizedCrop', size=32, scale=(0.2, 1.0)),
    dict(type='RandomHorizontalFlip'),
    *_base_.to_tensor,
]))
total_epochs = 12
