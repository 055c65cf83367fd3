"""ConvNeXtV2-B fine-tuned on ImageNet-1k after ImageNet-22k (arXiv:2301.00808), 30 epochs at 224 pixels, global batch 512.

Reproduces: the paper's ConvNeXtV2-B with ImageNet-22k: top-1 86.8. Settings: the paper's table 13; the release has none.
    Assumed: the smallest rate of the release, and layers that decay in groups, as without ImageNet-22k.
Command: bash tools/dist_train.sh configs/benchmarks/finetuning/imagenet/convnextv2_base_after22k.py 8 --pretrained WEIGHTS
Hardware and time: 8 GPUs with 32 images each, 2 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../../_base_/imagenet_augmented.py', '../../../_base_/convnextv2_after_22k.py', '../../../_base_/default_runtime.py']

model = dict(backbone=dict(arch='base', drop_path_rate=0.2), head=dict(in_channels=1024))
data = dict(imgs_per_gpu=32)
optimizer = dict(layer_decay=dict(rate=0.8, groups='group'))
custom_hooks = [_base_.average, _base_.validation]
checkpoint_config = dict(max_keep_ckpts=3)
total_epochs = 30
