"""What small CIFAR-10 runs with two differently made views share: those of cifar10_small.py, and solarisation in the second.

Colours as in solo-learn's asymmetric CIFAR pipelines, jitter 0.4 0.4 0.2 0.1 and no blur. Crops as in cifar10_small.py, so that small
runs differ by their methods (solo-learn: from 0.08 of the image on). View 0 is made by `plain`, view 1 by `solarized`.
"""

_base_ = 'cifar10_small.py'

crop = [dict(type='RandomResizedCrop', size=32, scale=(0.2, 1.0)), dict(type='RandomHorizontalFlip')]
colour = [
    dict(type='RandomAppliedTrans', transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)], p=0.8),
    dict(type='RandomGrayscale', p=0.2),
]
solarize = [dict(type='RandomAppliedTrans', transforms=[dict(type='Solarization')], p=0.2)]
plain = [*crop, *colour, *_base_.to_tensor]
solarized = [*crop, *colour, *solarize, *_base_.to_tensor]
data = dict(train=dict(_delete_=True, type='BYOLDataset', data_source=_base_.source, pipeline1=plain, pipeline2=solarized))
