"""SLaK-T with kernels of 61 x 61 (arXiv:2207.03620) on ImageNet, 120 epochs, global batch 4096, 40 % of the weights at zero.

Reproduces: the authors' 120-epoch model: top-1 81.5, 31M parameters, 5.2 GFLOPs without the zeros. They give no command for it, nor the
    kernels of the later stages, which are assumed to shrink as those of slak_tiny.py do (30.8M weights are then not zero, as published).
    All but the length and the kernels is as there.
Command: bash tools/dist_train.sh configs/classification/imagenet/slak_tiny_120e_k61.py 4
Hardware and time: 4 GPUs with 128 images each, 8 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = 'slak_tiny.py'

model = dict(backbone=dict(kernel_size=(61, 59, 57, 13, 5)))
total_epochs = 120
