"""SLaK-T (arXiv:2207.03620) on ImageNet, 300 epochs, global batch 4096, 40 % of the weights at zero.

Reproduces: the paper's SLaK-T: top-1 82.5, 30M parameters, 5.0 GFLOPs without the zeros.
Command: bash tools/dist_train.sh configs/classification/imagenet/slak_tiny.py 4
Hardware and time: 4 GPUs with 128 images each, 8 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../_base_/imagenet_augmented.py', '../../_base_/convnext_recipe.py', '../../_base_/default_runtime.py']

model = dict(
    backbone=dict(type='SLaK', arch='tiny', width_factor=1.3, kernel_size=(51, 49, 47, 13, 5), drop_path_rate=0.1,
                  norm_cfg=dict(type='SyncBN')),
    head=dict(in_channels=998),
)
custom_hooks = [
    dict(type='SparseTrainingHook', sparsity=0.4, init='snip', update_interval=2000, prune_rate=0.5, growth='random'),
    _base_.average,
    _base_.validation,
]
checkpoint_config = dict(max_keep_ckpts=3)
