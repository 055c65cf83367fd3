"""ImageNet without labels, BYOL's two pipelines (arXiv:2006.07733, table 6): blur always or rarely, solarization in the second."""

img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
colour = [
    dict(type='RandomAppliedTrans', transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)], p=0.8),
    dict(type='RandomGrayscale', p=0.2),
]
crop = [dict(type='RandomResizedCrop', size=224, interpolation=3), dict(type='RandomHorizontalFlip')]  # 3: bicubic
blur = [dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0)]
solarize = [dict(type='RandomAppliedTrans', transforms=[dict(type='Solarization')], p=0.2)]
to_tensor = [dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]
data = dict(
    imgs_per_gpu=32,
    workers_per_gpu=4,
    train=dict(
        type='BYOLDataset',
        data_source=dict(type='ImageNet', root='data/imagenet/train', list_file='data/imagenet/meta/train.txt'),
        pipeline1=[*crop, *colour, dict(type='RandomAppliedTrans', transforms=blur, p=1.0), *to_tensor],
        pipeline2=[*crop, *colour, dict(type='RandomAppliedTrans', transforms=blur, p=0.1), *solarize, *to_tensor],
    ),
)
