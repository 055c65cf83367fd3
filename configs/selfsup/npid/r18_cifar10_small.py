"""NPID, instance discrimination (arXiv:1805.01978) on 20,000 images of CIFAR-10, in minutes on two CPU cores.

Reproduces: nothing published; shows that the method learns real images within a small budget.
Command: python tools/train.py configs/selfsup/npid/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, under 10 minutes; without such instructions drop use_fp16.
Expected: benchmarks/results/small/npid.json
"""

_base_ = '../../_base_/cifar10_small.py'

model = dict(
    type='NPID',
    neg_num=4096,
    neck=dict(type='LinearNeck', in_channels=_base_.channels, out_channels=128),
    head=dict(type='ContrastiveHead', temperature=0.1),
    memory_bank=dict(type='SimpleMemory', length=20000, feat_dim=128, momentum=0.5),
)
data = dict(imgs_per_gpu=128, train=dict(type='NPIDDataset'))
optimizer = dict(_delete_=True, type='SGD', lr=0.03, momentum=0.9, weight_decay=5e-4)  # slowly enough for a bank that is an epoch old
total_epochs = 10
