"""SwAV (arXiv:2006.09882) on 20,000 images of CIFAR-10, in minutes on two CPU cores.

Reproduces: nothing published; a small budget on real images.
Command: python tools/train.py configs/selfsup/swav/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, under 10 minutes; without such instructions drop use_fp16.
Expected: not measured yet; the row that stands in docs/benchmarks/small_comparison.md when it is
"""

_base_ = '../../_base_/cifar10_multi_crop.py'

model = dict(
    type='SwAV',
    neck=dict(type='MLPNeck', in_channels=_base_.channels, hid_channels=256, out_channels=128, bias=True),
    num_prototypes=64,
    feat_dim=128,
    epsilon=0.03,
)
optimizer_config = dict(freeze=[dict(parameters=r'^prototypes\.', iters=20)])  # while the rate climbs
data = dict(imgs_per_gpu=64)
total_epochs = 3
