"""LeJEPA (arXiv:2511.08544) on 20,000 images of CIFAR-10, in minutes on two CPU cores.

Reproduces: nothing published; a small budget on real images.
Command: python tools/train.py configs/selfsup/lejepa/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, under 10 minutes; without such instructions drop use_fp16.
Expected: not measured yet; the row that stands in docs/benchmarks/small_comparison.md when it is
"""

_base_ = '../../_base_/cifar10_multi_crop.py'

model = dict(
    type='LeJEPA',
    neck=dict(type='MLPNeck', in_channels=_base_.channels, hid_channels=256, out_channels=64, bias=True),
    sigreg_weight=0.1,
    num_slices=64,
)
data = dict(imgs_per_gpu=128)
total_epochs = 3
