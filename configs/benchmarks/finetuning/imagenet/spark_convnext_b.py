"""ConvNeXt-B fine-tuned after SparK (arXiv:2301.03580) on ImageNet, 400 epochs at 224 pixels, global batch 4096.

Reproduces: the paper's ConvNeXt-B: top-1 84.8. All settings are those of the release.
Command: bash tools/dist_train.sh configs/benchmarks/finetuning/imagenet/spark_convnext_b.py 8 --pretrained WEIGHTS
Hardware and time: 8 GPUs with 128 images each, 4 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = 'spark_convnext_s.py'

model = dict(backbone=dict(arch='base', drop_path_rate=0.4), head=dict(in_channels=1024))
optimizer = dict(base_lr=1e-4)
