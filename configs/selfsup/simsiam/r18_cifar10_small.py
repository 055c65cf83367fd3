"""SimSiam (arXiv:2011.10566) on 20,000 images of CIFAR-10, in minutes on two CPU cores.

Reproduces: nothing published; a small budget on real images.
Command: python tools/train.py configs/selfsup/simsiam/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, under 10 minutes; without such instructions drop use_fp16.
Expected: not measured yet; the row that stands in docs/benchmarks/small_comparison.md when it is
"""

_base_ = '../../_base_/cifar10_small.py'

model = dict(
    type='SimSiam',
    neck=dict(type='MLPNeck', in_channels=_base_.channels, hid_channels=512, out_channels=512, last_norm='BN-', last_bias=False),
    predictor=dict(type='MLPNeck', in_channels=512, hid_channels=128, out_channels=512, with_avg_pool=False),
)
optimizer = dict(
    _delete_=True, type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4, paramwise_options={r'^predictor\.': dict(constant_lr=True)})
data = dict(imgs_per_gpu=64)
total_epochs = 4
