"""SparK (arXiv:2301.03580), ConvNeXt-L, ImageNet, 1600 epochs at 384 pixels with 75 % hidden, global batch 2048.

Reproduces: the pretraining of the paper's ConvNeXt-L at 384 pixels; ImageNet top-1 after fine-tuning 86.0.
Command: bash tools/dist_train.sh configs/selfsup/spark/convnext_l_384.py 32
Hardware and time: 32 GPUs with 64 images each; the learning rate follows the global batch; not run here.
Expected: the reference result; not run here.
"""

_base_ = '../../_base_/spark_pretrain.py'

size = 384
model = dict(
    backbone=dict(type='ConvNeXt', arch='large', out_indices=(1, 2, 3, 4), drop_path_rate=0.4),
    neck=dict(norm='ln'),
    mask_ratio=0.75,
)
crop = [dict(type='RandomResizedCrop', size=size, scale=(0.67, 1.0), interpolation=3), dict(type='RandomHorizontalFlip')]
data = dict(imgs_per_gpu=64, train=dict(pipeline=[*crop, *_base_.to_tensor]))
optimizer = dict(base_lr=4e-4, betas=(0.9, 0.999))
