"""ImageNet without labels, two views of one pipeline per image. The file that inherits writes `data.train.pipeline`."""

img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
data = dict(
    imgs_per_gpu=32,
    workers_per_gpu=4,
    train=dict(
        type='ContrastiveDataset',
        data_source=dict(type='ImageNet', root='data/imagenet/train', list_file='data/imagenet/meta/train.txt'),
    ),
)
