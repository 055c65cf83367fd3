"""imagenet_augmented.py at 384 pixels, where images to validate on are warped instead of cropped."""

_base_ = 'imagenet_augmented.py'

size = 384
warp = [dict(type='Resize', size=(size, size), interpolation=3), *_base_.to_tensor]
data = dict(
    train=dict(pipeline=[
        dict(type='RandomResizedCrop', size=size, interpolation=3),  # 3: bicubic
        dict(type='RandomHorizontalFlip'),
        dict(type='TIMMAutoAugment', policy='rand-m9-mstd0.5-inc1', size=size),
        *_base_.to_tensor,
        _base_.erasing,
    ]),
    val=dict(pipeline=warp),
)
validation = dict(dataset=dict(pipeline=warp))
