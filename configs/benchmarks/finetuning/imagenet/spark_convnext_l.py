"""ConvNeXt-L fine-tuned after SparK (arXiv:2301.03580) on ImageNet, 200 epochs at 224 pixels, global batch 4096.

Reproduces: the paper's ConvNeXt-L: top-1 85.4. All settings are those of the release.
Command: bash tools/dist_train.sh configs/benchmarks/finetuning/imagenet/spark_convnext_l.py 8 --pretrained WEIGHTS
Hardware and time: 8 GPUs with 64 images each, 8 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = 'spark_convnext_s.py'

model = dict(backbone=dict(arch='large', drop_path_rate=0.5), head=dict(in_channels=1536))
data = dict(imgs_per_gpu=64)
optimizer = dict(base_lr=1e-4, weight_decay=0.02)
optimizer_config = dict(update_interval=8)
lr_config = dict(warmup_iters=10)
total_epochs = 200
