"""ImageNet with labels: random crops to train on, centre crops to validate on."""

img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
to_tensor = [dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]
data = dict(
    imgs_per_gpu=32,
    workers_per_gpu=4,
    train=dict(
        type='ClassificationDataset',
        data_source=dict(type='ImageNet', root='data/imagenet/train', list_file='data/imagenet/meta/train_labeled.txt'),
        pipeline=[dict(type='RandomResizedCrop', size=224), dict(type='RandomHorizontalFlip'), *to_tensor]),
    val=dict(
        type='ClassificationDataset',
        data_source=dict(type='ImageNet', root='data/imagenet/val', list_file='data/imagenet/meta/val_labeled.txt'),
        pipeline=[dict(type='Resize', size=256), dict(type='CenterCrop', size=224), *to_tensor]),
)
validation = dict(type='ValidateHook', dataset=data['val'], initial=True, imgs_per_gpu=32, workers_per_gpu=4, eval_param=dict(topk=(1, 5)))
