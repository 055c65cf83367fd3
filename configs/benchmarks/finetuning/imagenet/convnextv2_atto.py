"""ConvNeXtV2-A fine-tuned after FCMAE (arXiv:2301.00808) on ImageNet, 600 epochs at 224 pixels, global batch 1024.

Reproduces: the paper's ConvNeXtV2-A: top-1 76.7. All settings are those of the release.
Command: bash tools/dist_train.sh configs/benchmarks/finetuning/imagenet/convnextv2_atto.py 8 --pretrained WEIGHTS
Hardware and time: 8 GPUs with 32 images each, 4 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../../_base_/imagenet_augmented.py', '../../../_base_/convnextv2_finetune.py', '../../../_base_/default_runtime.py']

model = dict(
    backbone=dict(arch='atto', drop_path_rate=0.1),
    head=dict(in_channels=320, label_smoothing=0.2),
    mixup=None,
)
data = dict(imgs_per_gpu=32)
optimizer = dict(base_lr=2e-4, weight_decay=0.3, layer_decay=dict(rate=0.9, groups='single'))  # base_lr is for 256 images
lr_config = dict(warmup=None)
custom_hooks = [_base_.average, _base_.validation]
checkpoint_config = dict(max_keep_ckpts=3)
total_epochs = 600
