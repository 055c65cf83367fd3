"""ConvNeXtV2-H fine-tuned on ImageNet-1k after ImageNet-22k (arXiv:2301.00808), 30 epochs at 512 pixels, global batch 512.

Reproduces: the paper's ConvNeXtV2-H with ImageNet-22k at 512 pixels: top-1 88.9. Settings: the paper's table 13; the release has none.
    Assumed: the smallest rate of the release, and layers that decay one by one, as without ImageNet-22k.
Command: bash tools/dist_train.sh configs/benchmarks/finetuning/imagenet/convnextv2_huge_after22k_512.py 8 --pretrained WEIGHTS
Hardware and time: 8 GPUs with 16 images each, 4 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../../_base_/imagenet_augmented.py', '../../../_base_/convnextv2_after_22k.py', '../../../_base_/default_runtime.py']

size = 512
model = dict(backbone=dict(arch='huge', drop_path_rate=0.5), head=dict(in_channels=2816))
crop = [dict(type='RandomResizedCrop', size=size, interpolation=3), dict(type='RandomHorizontalFlip')]
policy = dict(type='TIMMAutoAugment', policy='rand-m9-mstd0.5-inc1', size=size)
val = dict(_base_.data.val, pipeline=[dict(type='Resize', size=(size, size), interpolation=3), *_base_.to_tensor])  # warps, without a crop
data = dict(imgs_per_gpu=16, train=dict(pipeline=[*crop, policy, *_base_.to_tensor, _base_.erasing]), val=val)
optimizer = dict(layer_decay=dict(rate=0.85, groups='single'))
optimizer_config = dict(update_interval=4)
custom_hooks = [dict(_base_.validation, dataset=val)]  # no average
checkpoint_config = dict(max_keep_ckpts=3)
total_epochs = 30
