"""NNCLR (arXiv:2104.14548) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: the setting of lightly's CIFAR-10 benchmark (batch 128, 200 epochs), whose kNN-200 is 83.4; projector, temperature and views
  of solo-learn (91.9 linear
  after 1000 epochs with LARS), a queue of a third of the images.
Command: python tools/train.py configs/selfsup/nnclr/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200_asymmetric.py'

model = dict(
    type='NNCLR',
    neck=dict(
        type='MLPNeck', in_channels=_base_.channels, hid_channels=2048, out_channels=256, num_layers=3, bias=True, last_norm='BN'),
    predictor=dict(type='MLPNeck', in_channels=256, hid_channels=4096, out_channels=256, bias=True, with_avg_pool=False),
    queue_len=16384,
    feat_dim=256,
    temperature=0.2,
)
