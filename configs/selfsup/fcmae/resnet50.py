"""FCMAE (arXiv:2301.00808) with a ResNet-50 as its encoder, ImageNet, 1600 epochs at 224 pixels, global batch 4096.

Reproduces: nothing published: any convolutional backbone runs with hidden blocks.
Command: bash tools/dist_train.sh configs/selfsup/fcmae/resnet50.py 64
Hardware and time: 64 GPUs with 64 images each; the learning rate follows the global batch; not run here.
Expected: not known; not run here.
"""

_base_ = '../../_base_/fcmae_pretrain.py'

model = dict(
    backbone=dict(_delete_=True, type='TIMMBackbone', model_name='resnet50', out_indices=(4,)),
    sync_bn=True,
)
