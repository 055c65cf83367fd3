"""SimSiam (arXiv:2011.10566), ResNet-50, ImageNet, 100 epochs, global batch 512.

Reproduces: the authors' README: ImageNet linear 68.1 top-1 (with a batch of 256 and lr 0.05: 68.3).
Command: bash tools/dist_train.sh configs/selfsup/simsiam/r50_bs512_ep100.py 8
Hardware and time: 8 GPUs (lr is 0.05 for 256 images, here for 8 x 64); not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../_base_/imagenet_views.py', '../../_base_/default_runtime.py']

model = dict(
    type='SimSiam',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN'), zero_init_residual=True),
    neck=dict(type='MLPNeck', in_channels=2048, hid_channels=2048, out_channels=2048, num_layers=3,
              norm='SyncBN', last_norm='SyncBN-', last_bias=False),
    predictor=dict(type='MLPNeck', in_channels=2048, hid_channels=512, out_channels=2048, norm='SyncBN', with_avg_pool=False),
)
data = dict(
    imgs_per_gpu=64,
    drop_last=True,
    train=dict(pipeline=[
        dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.0)),
        dict(type='RandomAppliedTrans', p=0.8,
             transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)]),
        dict(type='RandomGrayscale', p=0.2),
        dict(type='RandomAppliedTrans', transforms=[dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0)], p=0.5),
        dict(type='RandomHorizontalFlip'),
        dict(type='ToTensor'),
        dict(type='Normalize', **_base_.img_norm_cfg),
    ]),
)
optimizer = dict(
    type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, paramwise_options={r'^predictor\.': dict(constant_lr=True)})
lr_config = dict(policy='CosineAnnealing', min_lr=0.)
total_epochs = 100
