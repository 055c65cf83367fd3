"""What the standard CIFAR-10 runs share: a whole ResNet-18 with the CIFAR stem, 200 epochs, two views, images and views on the device.

Batch, optimizer and epochs are those of lightly's CIFAR-10 benchmark: 128 images, SGD at 0.06, weight decay 5e-4, cosine. Views are the
symmetric ones of solo-learn's CIFAR recipes without their blur, which lightly leaves out too.
The 50,000 + 10,000 images lie in data/cifar/cifar-10-batches-py. Nothing was trained with these files yet.
"""

# What default_runtime.py says is repeated at the end: bases lie two deep at most, and others stand on this one.
channels = 512  # of the last map
img_norm_cfg = dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2470, 0.2435, 0.2616])
to_tensor = [dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]
source = dict(type='Cifar10', root='data/cifar', split='train')
crop = [dict(type='RandomResizedCrop', size=32, scale=(0.08, 1.0)), dict(type='RandomHorizontalFlip')]
strong = [
    dict(type='RandomAppliedTrans', transforms=[dict(type='ColorJitter', brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)], p=0.8),
    dict(type='RandomGrayscale', p=0.2),
]
model = dict(backbone=dict(type='ResNet', depth=18, base_channels=channels // 8, stem='cifar', out_indices=(4,)))
data = dict(
    imgs_per_gpu=128,
    workers_per_gpu=4,
    drop_last=True,
    train=dict(type='ContrastiveDataset', data_source=source, pipeline=[*crop, *strong, *to_tensor]),
)
prefetch = dict(augment_on_device=True, images_on_device=True)
optimizer = dict(type='SGD', lr=0.06, momentum=0.9, weight_decay=5e-4)
lr_config = dict(policy='CosineAnnealing', by_epoch=True, min_lr=0)
knn = dict(
    type='KNNHook',
    k=[20, 200],
    interval=20,
    train=dict(type='ClassificationDataset', data_source=source, pipeline=to_tensor),
    test=dict(type='ClassificationDataset', data_source=dict(source, split='test'), pipeline=to_tensor),
)
custom_hooks = [knn]
use_fp16 = True
channels_last = True
checkpoint_config = dict(interval=20, max_keep_ckpts=2)
total_epochs = 200
log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')])
dist_params = dict(backend='nccl')  # gloo where there is no GPU
cudnn_benchmark = True
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
