"""Distillation of DINOv2 ViT-B/14 with registers (arXiv:2304.07193) into a ResNet-50, ImageNet without labels, 300 epochs, batch 1024.

Reproduces: nothing published; the losses are AM-RADIO's (arXiv:2312.06709), the long schedule with one view for both is that of a patient
    teacher (arXiv:2106.05237).
Command: bash tools/dist_train.sh configs/selfsup/distill/r50_dinov2_vit_b.py 8 (timm downloads the teacher, or its `file` is named)
Hardware and time: 8 GPUs with 128 images each; not run here.
Expected: nothing measured yet.
"""

_base_ = ['../../_base_/imagenet_single_view.py', '../../_base_/default_runtime.py']

model = dict(
    type='Distill',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    teachers=[dict(type='TIMMTeacher', model_name='vit_base_patch14_reg4_dinov2.lvd142m', projection='mlp')],
    img_norm_cfg=_base_.img_norm_cfg,
)
data = dict(
    imgs_per_gpu=128,
    drop_last=True,
    train=dict(pipeline=[
        dict(type='RandomResizedCrop', size=224, scale=(0.14, 1.0), interpolation=3),  # 3: bicubic
        dict(type='RandomHorizontalFlip'),
        dict(type='RandomAppliedTrans', p=0.8,
             transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)]),
        *_base_.to_tensor,
    ]),
)
optimizer = dict(
    type='AdamW', base_lr=2.5e-4,  # for 256 images
    weight_decay=0.04,
    paramwise_options={'': dict(max_ndim=1, weight_decay=0.), r'\.bias$': dict(weight_decay=0.)})
optimizer_config = dict(grad_clip=dict(max_norm=3.0))
lr_config = dict(policy='CosineAnnealing', by_epoch=False, min_lr=0., warmup='linear', warmup_iters=10, warmup_ratio=1e-4,
                 warmup_by_epoch=True)
use_fp16 = True
channels_last = True
total_epochs = 300
