"""ConvNeXt-T (arXiv:2201.03545) on ImageNet, 300 epochs, global batch 4096.

Reproduces: the paper's ConvNeXt-T: top-1 82.1, 29M parameters, 4.5 GFLOPs.
Command: bash tools/dist_train.sh configs/classification/imagenet/convnext_tiny.py 4
Hardware and time: 4 GPUs with 128 images each, 8 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../_base_/imagenet_augmented.py', '../../_base_/convnext_recipe.py', '../../_base_/default_runtime.py']

model = dict(backbone=dict(type='ConvNeXt', arch='tiny', drop_path_rate=0.1), head=dict(in_channels=768))
custom_hooks = [_base_.average, _base_.validation]
checkpoint_config = dict(max_keep_ckpts=3)
