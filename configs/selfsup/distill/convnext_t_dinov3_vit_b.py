"""Distillation of DINOv3 ViT-B/16 (arXiv:2508.10104, its weights have the DINOv3 licence) into a ConvNeXt-T, ImageNet without labels.

Reproduces: nothing published; rate, decay and clipping are those with which the authors distil their ViT-7B into ConvNeXts, the losses
    AM-RADIO's (arXiv:2312.06709), as the released weights lack the heads that the authors' losses need.
Command: bash tools/dist_train.sh configs/selfsup/distill/convnext_t_dinov3_vit_b.py 8 (the weights need an accepted licence on the hub)
Hardware and time: 8 GPUs with 128 images each; not run here.
Expected: nothing measured yet.
"""

_base_ = './r50_dinov2_vit_b.py'

size = 256  # 16 x 16 places of the teacher, 8 x 8 of the student
model = dict(
    backbone=dict(_delete_=True, type='ConvNeXt', arch='tiny', out_indices=(4,), drop_path_rate=0.),
    teachers=[dict(type='TIMMTeacher', model_name='vit_base_patch16_dinov3.lvd1689m', projection='mlp')],
)
data = dict(train=dict(pipeline=[
    dict(type='RandomResizedCrop', size=size, scale=(0.14, 1.0), interpolation=3),
    *_base_.data.train.pipeline[1:],
]))
optimizer = dict(_delete_=True, type='AdamW', lr=2e-4, weight_decay=0.04, paramwise_options=_base_.optimizer.paramwise_options)
