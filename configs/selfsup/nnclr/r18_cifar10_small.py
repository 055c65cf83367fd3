"""NNCLR (arXiv:2104.14548) on 20,000 images of CIFAR-10, in minutes on two CPU cores.

Reproduces: nothing published; a small budget on real images.
Command: python tools/train.py configs/selfsup/nnclr/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, under 10 minutes; without such instructions drop use_fp16.
Expected: not measured yet; the row that stands in docs/benchmarks/small_comparison.md when it is
"""

_base_ = '../../_base_/cifar10_asymmetric.py'

model = dict(
    type='NNCLR',
    neck=dict(
        type='MLPNeck', in_channels=_base_.channels, hid_channels=256, out_channels=128, num_layers=3, bias=True, last_norm='BN'),
    predictor=dict(type='MLPNeck', in_channels=128, hid_channels=512, out_channels=128, bias=True, with_avg_pool=False),
    queue_len=2048,
    feat_dim=128,
    temperature=0.1,
)
data = dict(imgs_per_gpu=128)
optimizer = dict(lr=1e-3)
total_epochs = 4
