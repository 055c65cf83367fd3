"""ConvNeXt-S fine-tuned after SparK (arXiv:2301.03580) on ImageNet, 400 epochs at 224 pixels, global batch 4096.

Reproduces: the paper's ConvNeXt-S: top-1 84.1. All settings are those of the release.
Command: bash tools/dist_train.sh configs/benchmarks/finetuning/imagenet/spark_convnext_s.py 8 --pretrained WEIGHTS
Hardware and time: 8 GPUs with 128 images each, 4 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../../_base_/imagenet_trivial_augment.py', '../../../_base_/spark_finetune.py', '../../../_base_/default_runtime.py']

model = dict(
    backbone=dict(type='ConvNeXt', arch='small', drop_path_rate=0.3),
    head=dict(in_channels=768, norm_cfg=dict(type='LN', eps=1e-6), init_std=0.02),
)
data = dict(sampler=dict(type='RepeatAugSampler', num_repeats=3))
optimizer = dict(type='AdamW', base_lr=2e-4, weight_decay=0.01, layer_decay=dict(rate=0.7, groups='spark'))  # base_lr is for 256 images
optimizer_config = dict(update_interval=4)
lr_config = dict(warmup_iters=20)
custom_hooks = [_base_.average, _base_.validation]
checkpoint_config = dict(max_keep_ckpts=3)
total_epochs = 400
