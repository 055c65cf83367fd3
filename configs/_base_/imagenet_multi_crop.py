"""ImageNet without labels, views of two sizes per image (SwAV, arXiv:2006.09882, section 3.2). The file that inherits writes `data.train.views`.

The steps that the recipes share stand here: a view is crop, `flip`, colours, `grey`, blur, solarization, `tensor_steps`.
"""

img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
flip = dict(type='RandomHorizontalFlip')
grey = dict(type='RandomGrayscale', p=0.2)
blur = [dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0)]
often = dict(type='RandomAppliedTrans', transforms=blur, p=0.5)
solarize = dict(type='RandomAppliedTrans', transforms=[dict(type='Solarization')], p=0.2)
weak_colour = dict(
    type='RandomAppliedTrans', transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)], p=0.8)
tensor_steps = [dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]
data = dict(
    imgs_per_gpu=64,
    workers_per_gpu=8,
    drop_last=True,
    train=dict(
        type='MultiViewDataset',
        data_source=dict(type='ImageNet', root='data/imagenet/train', list_file='data/imagenet/meta/train.txt'),
    ),
)
