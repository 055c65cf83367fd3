"""ConvNeXtV2-B fine-tuned after FCMAE (arXiv:2301.00808) on ImageNet, 100 epochs at 224 pixels, global batch 1024.

Reproduces: the paper's ConvNeXtV2-B: top-1 84.9. All settings are those of the release.
Command: bash tools/dist_train.sh configs/benchmarks/finetuning/imagenet/convnextv2_base.py 8 --pretrained WEIGHTS
Hardware and time: 8 GPUs with 32 images each, 4 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../../_base_/imagenet_augmented.py', '../../../_base_/convnextv2_finetune.py', '../../../_base_/default_runtime.py']

model = dict(backbone=dict(arch='base', drop_path_rate=0.1), head=dict(in_channels=1024))
data = dict(imgs_per_gpu=32)
optimizer = dict(base_lr=6.25e-4, layer_decay=dict(rate=0.6, groups='group'))  # base_lr is for 256 images
lr_config = dict(warmup_iters=20)
custom_hooks = [_base_.average, _base_.validation]
checkpoint_config = dict(max_keep_ckpts=3)
total_epochs = 100
