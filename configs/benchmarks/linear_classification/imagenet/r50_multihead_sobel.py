"""Linear classification as in r50_multihead.py, of a backbone that sees edges (DeepCluster).
Reproduces: the DeepCluster rows of OpenSelfSup's model zoo: 12.78, 30.81, 43.88, 57.71, 51.68 top-1.
Command: bash benchmarks/dist_train_linear.sh configs/benchmarks/linear_classification/imagenet/r50_multihead_sobel.py BACKBONE.pth
Hardware and time: 8 GPUs (lr is for 8 x 32 images); not run here.
Expected: the reference result; not run here.
"""
_base_ = './r50_multihead.py'
model = dict(with_sobel=True, backbone=dict(in_channels=2))
