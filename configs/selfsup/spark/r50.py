"""SparK (arXiv:2301.03580), ResNet-50, ImageNet, 1600 epochs at 224 pixels, global batch 4096.

Reproduces: the pretraining of the paper's ResNet-50; ImageNet top-1 after fine-tuning 80.6.
Command: bash tools/dist_train.sh configs/selfsup/spark/r50.py 32
Hardware and time: 32 GPUs with 128 images each; the learning rate follows the global batch; not run here.
Expected: the reference result; not run here.
"""

_base_ = '../../_base_/spark_pretrain.py'

model = dict(backbone=dict(type='TIMMBackbone', model_name='resnet50', out_indices=(1, 2, 3, 4), drop_path_rate=0.05))
