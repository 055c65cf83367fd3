"""SLaK-T with kernels of 51 x 51 (arXiv:2207.03620) on ImageNet, 120 epochs, global batch 4096, 40 % of the weights at zero.

Reproduces: the authors' 120-epoch model: top-1 81.6, 30M parameters, 5.0 GFLOPs without the zeros. They give no command for it: all but the
    length is as in slak_tiny.py.
Command: bash tools/dist_train.sh configs/classification/imagenet/slak_tiny_120e.py 4
Hardware and time: 4 GPUs with 128 images each, 8 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = 'slak_tiny.py'

total_epochs = 120
