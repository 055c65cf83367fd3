"""ConvNeXtV2-L fine-tuned after FCMAE (arXiv:2301.00808) on ImageNet, 100 epochs at 224 pixels, global batch 1024.

Reproduces: the paper's ConvNeXtV2-L: top-1 85.8. Settings: the paper's table 11; the release has none. Assumed: the rate
    of B as released; the table prints ten times that for B and L.
Command: bash tools/dist_train.sh configs/benchmarks/finetuning/imagenet/convnextv2_large.py 8 --pretrained WEIGHTS
Hardware and time: 8 GPUs with 32 images each, 4 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = 'convnextv2_base.py'

model = dict(backbone=dict(arch='large', drop_path_rate=0.2), head=dict(in_channels=1536))
