"""SLaK-S (arXiv:2207.03620) on ImageNet, 300 epochs, global batch 4096, 40 % of the weights at zero.

Reproduces: the paper's SLaK-S: top-1 83.8, 55M parameters, 9.8 GFLOPs without the zeros.
Command: bash tools/dist_train.sh configs/classification/imagenet/slak_small.py 8
Hardware and time: 8 GPUs with 64 images each, 8 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = 'slak_tiny.py'

model = dict(backbone=dict(arch='small', drop_path_rate=0.4))
data = dict(imgs_per_gpu=64)
custom_hooks = [
    dict(type='SparseTrainingHook', sparsity=0.4, init='snip', update_interval=100, prune_rate=0.3, growth='random'),
    _base_.average,
    _base_.validation,
]
