"""VICReg (arXiv:2105.04906) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: nothing: solo-learn's expander and views (92.1 linear after 1000 epochs with LARS), lightly's optimizer and epochs.
Command: python tools/train.py configs/selfsup/vicreg/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200.py'

model = dict(
    type='VICReg',
    neck=dict(type='MLPNeck', in_channels=_base_.channels, hid_channels=2048, out_channels=2048, num_layers=3, bias=True, last_bias=False),
)
data = dict(train=dict(pipeline=[
    dict(type='RandomResizedCrop', size=32, scale=(0.2, 1.0)),
    dict(type='RandomHorizontalFlip'),
    dict(type='RandomAppliedTrans', transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)], p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='RandomAppliedTrans', transforms=[dict(type='Solarization')], p=0.1),
    *_base_.to_tensor,
]))
optimizer = dict(lr=0.02)  # the loss is 25 times a mean square
lr_config = dict(_delete_=True, policy='CosineAnnealing', by_epoch=False, min_lr=0, warmup='linear', warmup_iters=10, warmup_by_epoch=True,
                 warmup_ratio=0.01)
