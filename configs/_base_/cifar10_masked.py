"""What the small masked autoencoders on CIFAR-10 share: images, optimizer, kNN before and after, pictures.

The images lie in data/cifar10/{train,test}/<class>/. Blocks have 8 pixels: 16 per image, of which 6 stay visible.
"""

_base_ = 'default_runtime.py'

block = 8
img_norm_cfg = dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2470, 0.2435, 0.2616])
to_tensor = [dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]
source = dict(type='ImageFolder', root='data/cifar10/train')
test_source = dict(type='ImageFolder', root='data/cifar10/test')
model = dict(head=dict(type='MaskedPixelHead', patch_size=block), mask_ratio=0.6, block=block)
data = dict(
    imgs_per_gpu=128,
    workers_per_gpu=1,
    drop_last=True,
    train=dict(
        type='ExtractDataset',
        data_source=source,
        pipeline=[dict(type='RandomResizedCrop', size=32, scale=(0.5, 1.0)), dict(type='RandomHorizontalFlip'), *to_tensor]),
)
optimizer = dict(type='AdamW', lr=1.5e-3, weight_decay=0.05, betas=(0.9, 0.95),
                 paramwise_options={'': dict(max_ndim=1, weight_decay=0.), r'\.bias$': dict(weight_decay=0.)})
lr_config = dict(policy='CosineAnnealing', by_epoch=False, min_lr=0, warmup='linear', warmup_iters=40, warmup_ratio=0.1)
custom_hooks = [
    dict(
        type='KNNHook',
        k=20,
        interval=100,  # before training and at its end
        train=dict(type='ClassificationDataset', data_source=source, pipeline=to_tensor),
        test=dict(type='ClassificationDataset', data_source=test_source, pipeline=to_tensor),
    ),
    dict(type='ReconstructionHook', interval=100, initial=True,
         dataset=dict(type='ExtractDataset', data_source=test_source, pipeline=to_tensor)),
]
use_fp16 = True  # bf16 on the CPU
channels_last = True
log_config = dict(interval=10)
checkpoint_config = dict(interval=1, max_keep_ckpts=2)
