"""DenseCL (arXiv:2011.09157), ResNet-50, ImageNet, 200 epochs, global batch 256.

Reproduces: the authors' README: VOC detection 58.7 AP (MoCo v2 57.0), mean of 5 trials; mmselfsup: ImageNet linear 63.5 top-1, below MoCo
    v2's 67.5, as the method is made for dense tasks.
Command: bash tools/dist_train.sh configs/selfsup/densecl/r50_bs256_ep200.py 8
Hardware and time: 8 GPUs (lr is for 8 x 32 images); not run here.
Expected: the authors' result; not run here.
"""

_base_ = '../moco/r50_v2.py'

model = dict(
    type='DenseCL',
    neck=dict(_delete_=True, type='DenseCLNeck', in_channels=2048, hid_channels=2048, out_channels=128),
    loss_lambda=0.5,
)
