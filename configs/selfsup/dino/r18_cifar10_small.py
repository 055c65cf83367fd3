"""DINO (arXiv:2104.14294) on 20,000 images of CIFAR-10, in minutes on two CPU cores.

Reproduces: nothing published; a small budget on real images.
Command: python tools/train.py configs/selfsup/dino/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, under 10 minutes; without such instructions drop use_fp16.
Expected: not measured yet; the row that stands in docs/benchmarks/small_comparison.md when it is
"""

_base_ = '../../_base_/cifar10_multi_crop.py'

model = dict(
    type='DINO',
    neck=dict(
        type='DINONeck', in_channels=_base_.channels, hid_channels=256, bottleneck_channels=64, out_channels=256, norm='BN'),
    base_momentum=0.95,
)
solarize = dict(type='RandomAppliedTrans', transforms=[dict(type='Solarization')], p=0.2)
large2 = [*_base_.large_crop, *_base_.colour, solarize, *_base_.to_tensor]
data = dict(
    imgs_per_gpu=64,
    train=dict(views=[dict(pipeline=_base_.large), dict(pipeline=large2), dict(number=4, pipeline=_base_.small)]))
optimizer = dict(lr=1e-3)
optimizer_config = dict(
    grad_clip=dict(max_norm=3.0, per_tensor=True), freeze=[dict(parameters=r'^neck\.last_layer\.', iters=39)])  # half an epoch
total_epochs = 3
