"""LeJEPA (arXiv:2511.08544) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: nothing: four equal views and AdamW as the authors' minimal script has for Imagenette, weight decay 5e-4 as they give for
  ResNets.
Command: python tools/train.py configs/selfsup/lejepa/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200.py'

model = dict(
    type='LeJEPA',
    neck=dict(type='MLPNeck', in_channels=_base_.channels, hid_channels=2048, out_channels=64, num_layers=3, bias=True),
    sigreg_weight=0.02,
    num_slices=256,
)
data = dict(train=dict(
    _delete_=True, type='MultiViewDataset', data_source=_base_.source,
    views=[dict(number=4, pipeline=[
        *_base_.crop, *_base_.strong, dict(type='RandomAppliedTrans', transforms=[dict(type='Solarization')], p=0.2), *_base_.to_tensor])]))
optimizer = dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=5e-4)
lr_config = dict(_delete_=True, policy='CosineAnnealing', by_epoch=False, min_lr=0, warmup='linear', warmup_iters=1, warmup_by_epoch=True,
                 warmup_ratio=0.01)
