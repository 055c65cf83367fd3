"""Relative patch location (arXiv:1505.05192) on 20,000 images of CIFAR-10, in minutes on two CPU cores.

Reproduces: nothing published; shows that the method learns real images within a small budget.
Command: python tools/train.py configs/selfsup/relative_loc/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, under 10 minutes; without such instructions drop use_fp16.
Expected: benchmarks/results/small/relative_loc.json
"""

_base_ = '../../_base_/cifar10_small.py'

model = dict(
    type='RelativeLoc',
    shared_centre=True,
    neck=dict(type='RelativeLocNeck', in_channels=_base_.channels, out_channels=256),
    head=dict(type='ClsHead', in_channels=256, num_classes=8),
)
data = dict(
    train=dict(
        type='RelativeLocDataset',
        # no RandomGrayscale, which is against the chromatic aberration of lenses: images of 32 pixels show none, and kNN needs colour
        pipeline=[dict(type='Resize', size=(50, 50)), dict(type='RandomCrop', size=48)],
        format_pipeline=_base_.to_tensor,
        patch_jitter=4),  # cells of 16 pixels, patches of 12
)
# Images as large as those that patches are cut from: at 32 pixels the statistics of the batch norms, learned on patches of enlarged
# images, do not fit, and the trained network falls below the untrained one.
enlarged = [dict(type='Resize', size=(48, 48)), *_base_.to_tensor]
custom_hooks = [dict(_base_.knn, train=dict(_base_.knn['train'], pipeline=enlarged), test=dict(_base_.knn['test'], pipeline=enlarged))]
total_epochs = 4
