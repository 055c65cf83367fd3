"""NPID, instance discrimination (arXiv:1805.01978) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: nothing: the paper trains the same network on CIFAR-10, with other views.
Command: python tools/train.py configs/selfsup/npid/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200.py'

model = dict(
    type='NPID',
    neg_num=4096,
    neck=dict(type='LinearNeck', in_channels=_base_.channels, out_channels=128),
    head=dict(type='ContrastiveHead', temperature=0.1),
    memory_bank=dict(type='SimpleMemory', length=50000, feat_dim=128, momentum=0.5),
)
data = dict(train=dict(type='NPIDDataset'))
optimizer = dict(lr=0.03)  # slowly enough for a bank that is an epoch old
