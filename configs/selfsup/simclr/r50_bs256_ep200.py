"""SimCLR (arXiv:2002.05709), ResNet-50, ImageNet, 200 epochs, global batch 256.

Reproduces: OpenSelfSup's model zoo, simclr/r50_bs256_ep200: VOC07 SVM 78.95 mAP, ImageNet linear 60.06 top-1.
Command: bash tools/dist_train.sh configs/selfsup/simclr/r50_bs256_ep200.py 8
Hardware and time: 8 GPUs (lr is for 8 x 32 images); not run here.
Expected: the reference result or better (its gradient of gathered features was too small by the number of GPUs); not run here.
"""

_base_ = ['../../_base_/imagenet_views.py', '../../_base_/default_runtime.py']

model = dict(
    type='SimCLR',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    neck=dict(type='NonLinearNeckSimCLR', in_channels=2048, hid_channels=2048, out_channels=128, num_layers=2),
    head=dict(type='ContrastiveHead', temperature=0.1),
)
data = dict(
    train=dict(pipeline=[
        dict(type='RandomResizedCrop', size=224),
        dict(type='RandomHorizontalFlip'),
        dict(type='RandomAppliedTrans', p=0.8,
             transforms=[dict(type='ColorJitter', brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)]),
        dict(type='RandomGrayscale', p=0.2),
        dict(type='RandomAppliedTrans', transforms=[dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0)], p=0.5),
        dict(type='ToTensor'),
        dict(type='Normalize', **_base_.img_norm_cfg),
    ]),
)
optimizer = dict(
    type='LARS', lr=0.3, weight_decay=1e-6, momentum=0.9,
    # as published: weights of norms named otherwise (downsample.1.weight) keep decay and trust ratio
    paramwise_options={
        r'(bn|gn)(\d+)?.(weight|bias)': dict(weight_decay=0., lars_exclude=True),
        'bias': dict(weight_decay=0., lars_exclude=True),
    })
lr_config = dict(policy='CosineAnnealing', min_lr=0., warmup='linear', warmup_iters=10, warmup_ratio=1e-4, warmup_by_epoch=True)
total_epochs = 200
