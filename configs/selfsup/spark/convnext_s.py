"""SparK (arXiv:2301.03580), ConvNeXt-S, ImageNet, 1600 epochs at 224 pixels, global batch 4096.

Reproduces: the pretraining of the paper's ConvNeXt-S; ImageNet top-1 after fine-tuning 84.1.
Command: bash tools/dist_train.sh configs/selfsup/spark/convnext_s.py 32
Hardware and time: 32 GPUs with 128 images each; the learning rate follows the global batch; not run here.
Expected: the reference result; not run here.
"""

_base_ = '../../_base_/spark_pretrain.py'

model = dict(
    backbone=dict(type='ConvNeXt', arch='small', out_indices=(1, 2, 3, 4), drop_path_rate=0.2),
    neck=dict(norm='ln'),
)
optimizer = dict(betas=(0.9, 0.999))
