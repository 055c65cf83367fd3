"""What classifiers on the backbone of the small CIFAR-10 runs share: the ResNet-18 of cifar10_small.py, a linear head, crops and flips.

The images lie in data/cifar10/{train,test}/<class>/. The test set is evaluated before and after training.
"""

_base_ = 'default_runtime.py'

img_norm_cfg = dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2470, 0.2435, 0.2616])
to_tensor = [dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]
model = dict(
    type='Classification',
    backbone=dict(type='ResNet', depth=18, num_stages=3, base_channels=32, stem='cifar', out_indices=(3,)),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=128, num_classes=10),
)
data = dict(
    imgs_per_gpu=256,
    workers_per_gpu=1,
    train=dict(
        type='ClassificationDataset',
        data_source=dict(type='ImageFolder', root='data/cifar10/train'),
        pipeline=[dict(type='RandomCrop', size=32, padding=4), dict(type='RandomHorizontalFlip'), *to_tensor]),
    val=dict(type='ClassificationDataset', data_source=dict(type='ImageFolder', root='data/cifar10/test'), pipeline=to_tensor),
)
lr_config = dict(policy='CosineAnnealing', by_epoch=False, min_lr=0)
custom_hooks = [dict(type='ValidateHook', dataset=data['val'], initial=True, interval=100, imgs_per_gpu=250, eval_param=dict(topk=(1, 5)))]
use_fp16 = True  # bf16 on the CPU
channels_last = True
checkpoint_config = dict(interval=10, max_keep_ckpts=1)
log_config = dict(interval=10)
