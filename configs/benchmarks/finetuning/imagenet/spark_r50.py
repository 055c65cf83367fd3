"""ResNet-50 fine-tuned after SparK (arXiv:2301.03580) on ImageNet, 300 epochs at 224 pixels, global batch 2048.

Reproduces: the paper's ResNet-50: top-1 80.6. All settings are those of the release.
Command: bash tools/dist_train.sh configs/benchmarks/finetuning/imagenet/spark_r50.py 8 --pretrained WEIGHTS
Hardware and time: 8 GPUs with 256 images each; not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../../_base_/imagenet_trivial_augment.py', '../../../_base_/spark_finetune.py', '../../../_base_/default_runtime.py']

model = dict(
    backbone=dict(type='TIMMBackbone', model_name='resnet50', out_indices=(4,), drop_path_rate=0.05, sync_bn=True),
    head=dict(in_channels=2048, init_std=None, criterion='bce'),
    mixup=dict(mixup_alpha=0.1),
)
data = dict(imgs_per_gpu=256, drop_last=False)  # 626 steps, as the release: the last batch has 146 images on each of 8 GPUs
optimizer = dict(
    type='LAMB',
    base_lr=2e-3,  # for 256 images
    weight_decay=0.02,
    layer_decay=dict(rate=0.7, groups='spark'),
    max_grad_norm=1e7,
    always_adapt=True,
    bias_correction=False,
)
lr_config = dict(warmup_iters=5)
custom_hooks = [_base_.average, _base_.validation]
checkpoint_config = dict(max_keep_ckpts=3)
total_epochs = 300
