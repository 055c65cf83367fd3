"""SparK (arXiv:2301.03580) with SLaK-T (arXiv:2207.03620), ImageNet, 1600 epochs at 224 pixels, global batch 4096.

Reproduces: nothing published: the pretraining of the paper's ConvNeXts, with large kernels.
Command: bash tools/dist_train.sh configs/selfsup/spark/slak_t.py 32
Hardware and time: 32 GPUs with 128 images each; the learning rate follows the global batch; not run here.
Expected: not known; not run here.
"""

_base_ = '../../_base_/spark_pretrain.py'

model = dict(
    backbone=dict(type='SLaK', arch='tiny', width_factor=1.3, norm_cfg=dict(type='SyncBN'), out_indices=(1, 2, 3, 4), drop_path_rate=0.1),
    neck=dict(norm='ln'),
)
optimizer = dict(betas=(0.9, 0.999))
