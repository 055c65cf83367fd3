"""ImageNet with labels as SparK fine-tunes on it: TrivialAugment and random erasing to train on, centre crops of 95 % to validate on."""

img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
to_tensor = [dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]
erasing = dict(type='RandomErasing', p=0.25, scale=(0.02, 1 / 3), ratio=(0.3, 1 / 0.3), value='random')  # noise in every pixel
data = dict(
    imgs_per_gpu=128,
    workers_per_gpu=8,
    drop_last=True,
    train=dict(
        type='ClassificationDataset',
        data_source=dict(type='ImageNet', root='data/imagenet/train', list_file='data/imagenet/meta/train_labeled.txt'),
        pipeline=[
            dict(type='RandomResizedCrop', size=224, interpolation=3),  # 3: bicubic
            dict(type='RandomHorizontalFlip'),
            dict(type='TrivialAugmentWide', num_magnitude_bins=31, interpolation=3),
            *to_tensor,
            erasing,
        ]),
    val=dict(
        type='ClassificationDataset',
        data_source=dict(type='ImageNet', root='data/imagenet/val', list_file='data/imagenet/meta/val_labeled.txt'),
        pipeline=[dict(type='Resize', size=235, interpolation=3), dict(type='CenterCrop', size=224), *to_tensor]),  # 224 / 0.95
)
validation = dict(type='ValidateHook', dataset=data['val'], initial=False, imgs_per_gpu=128, workers_per_gpu=8,
                  eval_param=dict(topk=(1, 5)))
