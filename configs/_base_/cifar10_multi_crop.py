"""What small CIFAR-10 runs on crops of two sizes share: two of 32 pixels that cover much of an image, four of 16 that do not.

Four crops of 16 pixels cost what one of 32 does. Colours are those of cifar10_small.py, the same in all crops. A method whose large crops
differ (DINO) writes `data.train.views` with the parts of this file.
"""

_base_ = 'cifar10_small.py'

colour = [
    dict(type='RandomAppliedTrans', transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)], p=0.8),
    dict(type='RandomGrayscale', p=0.2),
]
large_crop = [dict(type='RandomResizedCrop', size=32, scale=(0.3, 1.0)), dict(type='RandomHorizontalFlip')]
small_crop = [dict(type='RandomResizedCrop', size=16, scale=(0.1, 0.3)), dict(type='RandomHorizontalFlip')]
large = [*large_crop, *colour, *_base_.to_tensor]
small = [*small_crop, *colour, *_base_.to_tensor]
data = dict(
    train=dict(
        _delete_=True,
        type='MultiViewDataset',
        data_source=_base_.source,
        views=[dict(number=2, pipeline=large), dict(number=4, pipeline=small)],
    ),
)
