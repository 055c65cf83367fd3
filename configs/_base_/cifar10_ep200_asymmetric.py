"""Standard CIFAR-10 runs with the asymmetric views of solo-learn's recipes: weaker colours, solarisation in the second, no blur."""

_base_ = 'cifar10_ep200.py'

colour = [
    dict(type='RandomAppliedTrans', transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)], p=0.8),
    dict(type='RandomGrayscale', p=0.2),
]
solarize = [dict(type='RandomAppliedTrans', transforms=[dict(type='Solarization')], p=0.2)]
plain = [*_base_.crop, *colour, *_base_.to_tensor]
solarized = [*_base_.crop, *colour, *solarize, *_base_.to_tensor]
data = dict(train=dict(_delete_=True, type='BYOLDataset', data_source=_base_.source, pipeline1=plain, pipeline2=solarized))
