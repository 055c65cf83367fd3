"""FCMAE (arXiv:2301.00808), ConvNeXtV2-N, ImageNet, 1600 epochs at 224 pixels, global batch 4096.

Reproduces: the pretraining of the paper's ConvNeXtV2-N; ImageNet top-1 after fine-tuning 81.9.
Command: bash tools/dist_train.sh configs/selfsup/fcmae/nano.py 64
Hardware and time: 64 GPUs with 64 images each; the learning rate follows the global batch; not run here.
Expected: the reference result; not run here.
"""

_base_ = '../../_base_/fcmae_pretrain.py'

model = dict(backbone=dict(arch='nano'))
