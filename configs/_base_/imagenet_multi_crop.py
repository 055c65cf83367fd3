"""ImageNet without labels, views of two sizes per image (SwAV, arXiv:2006.09882, section 3.2).

The file that inherits writes `data.train.views`. The steps that all recipes share stand here: a view is crop, `flip`, colours, `grey`,
blur, and the rest of a recipe.
"""

img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
flip = dict(type='RandomHorizontalFlip')
grey = dict(type='RandomGrayscale', p=0.2)
blur = [dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0)]
often = dict(type='RandomAppliedTrans', transforms=blur, p=0.5)
data = dict(
    imgs_per_gpu=64,
    workers_per_gpu=8,
    drop_last=True,
    train=dict(
        type='MultiViewDataset',
        data_source=dict(type='ImageNet', root='data/imagenet/train', list_file='data/imagenet/meta/train.txt'),
    ),
)
