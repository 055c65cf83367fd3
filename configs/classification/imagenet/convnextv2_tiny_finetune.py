"""ConvNeXtV2-T fine-tuned after FCMAE (arXiv:2301.00808) on ImageNet, 300 epochs, global batch 1024.

Reproduces: the paper's ConvNeXtV2-T after FCMAE pretraining: top-1 83.0.
Command: bash tools/dist_train.sh configs/classification/imagenet/convnextv2_tiny_finetune.py 8 --pretrained WEIGHTS
Hardware and time: 8 GPUs with 32 images each, 4 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../_base_/imagenet_augmented.py', '../../_base_/convnext_recipe.py', '../../_base_/default_runtime.py']

model = dict(
    backbone=dict(type='ConvNeXtV2', arch='tiny', drop_path_rate=0.2),
    head=dict(in_channels=768, init_std=2e-5),
)
data = dict(imgs_per_gpu=32)
optimizer = dict(
    _delete_=True,
    type='AdamW',
    base_lr=8e-4,  # for 256 images
    weight_decay=0.05,
    layer_decay=dict(rate=0.9, groups='single'),
    paramwise_options={'': dict(max_ndim=1, weight_decay=0.), r'\.(bias|gamma|beta)$': dict(weight_decay=0.)},
)
optimizer_config = dict(update_interval=4)
lr_config = dict(warmup_iters=40, reach_peak=False)
use_fp16 = True
custom_hooks = [_base_.average, _base_.validation]
checkpoint_config = dict(max_keep_ckpts=3)
