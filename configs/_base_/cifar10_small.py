"""What the small CIFAR-10 runs share: a ResNet-18 of three stages (0.7 M parameters), views, optimizer, kNN before and after.

The images lie in data/cifar10/{train,test}/<class>/. The learning rate falls along a cosine from iteration 20 to the end.
"""

# What default_runtime.py says is repeated at the end: bases lie two deep at most, and others stand on this one.
channels = 128  # of the last map
img_norm_cfg = dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2470, 0.2435, 0.2616])
to_tensor = [dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]
source = dict(type='ImageFolder', root='data/cifar10/train')
model = dict(
    backbone=dict(type='ResNet', depth=18, num_stages=3, base_channels=channels // 4, stem='cifar', out_indices=(3,)),
)
data = dict(
    imgs_per_gpu=256,
    workers_per_gpu=1,
    drop_last=True,
    train=dict(
        type='ContrastiveDataset',
        data_source=source,
        pipeline=[
            dict(type='RandomResizedCrop', size=32, scale=(0.2, 1.0)),
            dict(type='RandomAppliedTrans', p=0.8, transforms=[
                dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)]),
            dict(type='RandomGrayscale', p=0.2),
            dict(type='RandomHorizontalFlip'),
            *to_tensor,
        ],
    ),
)
optimizer = dict(type='AdamW', lr=2e-3, weight_decay=1e-4)
lr_config = dict(policy='CosineAnnealing', by_epoch=False, min_lr=0, warmup='linear', warmup_iters=20, warmup_ratio=0.1)
knn = dict(
    type='KNNHook',
    k=20,
    interval=100,  # before training and at its end
    train=dict(type='ClassificationDataset', data_source=source, pipeline=to_tensor),
    test=dict(type='ClassificationDataset', data_source=dict(type='ImageFolder', root='data/cifar10/test'), pipeline=to_tensor),
)
custom_hooks = [knn]
use_fp16 = True  # bf16 on the CPU
channels_last = True
log_config = dict(interval=10, hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')])
checkpoint_config = dict(interval=1, max_keep_ckpts=2)
dist_params = dict(backend='nccl')  # gloo where there is no GPU
cudnn_benchmark = True
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
