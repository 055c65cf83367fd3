"""SimSiam (arXiv:2011.10566) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: the setting of lightly's CIFAR-10 benchmark (batch 128, 200 epochs), whose kNN-200 is 81.9; constant rate for the predictor,
  2-layer projector as the paper has on CIFAR-10
  (there 800 epochs, batch 512, kNN about 89).
Command: python tools/train.py configs/selfsup/simsiam/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200.py'

model = dict(
    type='SimSiam',
    neck=dict(type='MLPNeck', in_channels=_base_.channels, hid_channels=2048, out_channels=2048, last_norm='BN-', last_bias=False),
    predictor=dict(type='MLPNeck', in_channels=2048, hid_channels=512, out_channels=2048, with_avg_pool=False),
)
optimizer = dict(paramwise_options={r'^predictor\.': dict(constant_lr=True)})
