"""SLaK-B (arXiv:2207.03620) on ImageNet, 300 epochs, global batch 4096, 40 % of the weights at zero.

Reproduces: the paper's SLaK-B: top-1 84.0, 95M parameters, 17.1 GFLOPs without the zeros.
Command: bash tools/dist_train.sh configs/classification/imagenet/slak_base.py 16
Hardware and time: 16 GPUs with 32 images each, 8 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = 'slak_tiny.py'

model = dict(backbone=dict(arch='base', drop_path_rate=0.5), head=dict(in_channels=1331))
data = dict(imgs_per_gpu=32)
custom_hooks = [
    dict(type='SparseTrainingHook', sparsity=0.4, init='snip', update_interval=100, prune_rate=0.3, growth='random'),
    _base_.average,
    _base_.validation,
]
