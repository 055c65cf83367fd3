"""ResNet-101 fine-tuned after SparK (arXiv:2301.03580) on ImageNet, 300 epochs at 224 pixels, global batch 2048.

Reproduces: the paper's ResNet-101: top-1 82.2. All settings are those of the release.
Command: bash tools/dist_train.sh configs/benchmarks/finetuning/imagenet/spark_r101.py 8 --pretrained WEIGHTS
Hardware and time: 8 GPUs with 256 images each; not run here.
Expected: the reference result; not run here.
"""

_base_ = 'spark_r50.py'

model = dict(backbone=dict(model_name='resnet101', drop_path_rate=0.2))
optimizer = dict(base_lr=1e-3, layer_decay=dict(rate=0.8))
