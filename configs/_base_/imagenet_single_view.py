"""ImageNet without labels, one view per image: crop and flip. The file that inherits sets the size and the scale of the crop."""

img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
to_tensor = [dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]
source = dict(type='ImageNet', root='data/imagenet/train', list_file='data/imagenet/meta/train.txt')
data = dict(
    imgs_per_gpu=64,
    workers_per_gpu=8,
    train=dict(type='ExtractDataset', data_source=source),
)
