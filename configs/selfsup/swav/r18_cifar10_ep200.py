"""SwAV (arXiv:2006.09882) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: the setting of lightly's CIFAR-10 benchmark (batch 128, 200 epochs), whose kNN-200 is 81.2; 2 views without small crops, as
  lightly and solo-learn (89.2 linear
  after 1000 epochs) have on CIFAR.
Command: python tools/train.py configs/selfsup/swav/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200.py'

model = dict(
    type='SwAV',
    neck=dict(type='MLPNeck', in_channels=_base_.channels, hid_channels=2048, out_channels=128, bias=True),
    num_prototypes=512,
    feat_dim=128,
)
optimizer_config = dict(freeze=[dict(parameters=r'^prototypes\.', epochs=2)])
