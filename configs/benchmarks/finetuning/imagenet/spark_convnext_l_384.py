"""ConvNeXt-L fine-tuned after SparK (arXiv:2301.03580) on ImageNet, 200 epochs at 384 pixels, global batch 1024.

Reproduces: the paper's ConvNeXt-L at 384 pixels: top-1 86.0. All settings are those of the release.
Command: bash tools/dist_train.sh configs/benchmarks/finetuning/imagenet/spark_convnext_l_384.py 8 --pretrained WEIGHTS
Hardware and time: 8 GPUs with 32 images each, 4 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = 'spark_convnext_s.py'

size = 384
model = dict(backbone=dict(arch='large', drop_path_rate=0.5), head=dict(in_channels=1536))
crop = [dict(type='RandomResizedCrop', size=size, interpolation=3), dict(type='RandomHorizontalFlip')]
policy = dict(type='TIMMAutoAugment', policy='v0', size=size)
val = dict(_base_.data.val, pipeline=[dict(type='Resize', size=(size, size), interpolation=3), *_base_.to_tensor])  # warps, without a crop
data = dict(imgs_per_gpu=32, train=dict(pipeline=[*crop, policy, *_base_.to_tensor, _base_.erasing]), val=val)
optimizer = dict(base_lr=6e-5)
custom_hooks = [dict(_base_.average, momentum=0.99995), dict(_base_.validation, dataset=val)]
total_epochs = 200
