"""DeepCluster (arXiv:1807.05520) as in r50.py, on colour images with three times the learning rate.

Reproduces: no published result; a config of OpenSelfSup.
Command: bash tools/dist_train.sh configs/selfsup/deepcluster/r50_withoutsobel.py 8
Hardware and time: 8 GPUs (lr is for 8 x 64 images); not run here.
Expected: not run here.
"""

_base_ = './r50.py'

model = dict(with_sobel=False, backbone=dict(in_channels=3))
optimizer = dict(lr=0.3)
