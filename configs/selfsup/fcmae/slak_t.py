"""FCMAE (arXiv:2301.00808) with SLaK-T (arXiv:2207.03620) as its encoder, ImageNet, 1600 epochs at 224 pixels, global batch 4096.

Reproduces: nothing published: any convolutional backbone runs with hidden blocks.
Command: bash tools/dist_train.sh configs/selfsup/fcmae/slak_t.py 64
Hardware and time: 64 GPUs with 64 images each; the learning rate follows the global batch; not run here.
Expected: not known; not run here.
"""

_base_ = '../../_base_/fcmae_pretrain.py'

model = dict(
    backbone=dict(_delete_=True, type='SLaK', arch='tiny', width_factor=1.3, norm_cfg=dict(type='SyncBN'), out_indices=(4,)),
    sync_bn=True,
)
