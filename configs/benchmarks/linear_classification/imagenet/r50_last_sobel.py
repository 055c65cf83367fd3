"""Linear classification as in r50_last.py, of a backbone that sees edges (DeepCluster).
Reproduces: the DeepCluster rows of OpenSelfSup's model zoo: 46.92 top-1.
Command: bash benchmarks/dist_train_linear.sh configs/benchmarks/linear_classification/imagenet/r50_last_sobel.py BACKBONE.pth
Hardware and time: 8 GPUs (lr is for 8 x 32 images); not run here.
Expected: the reference result; not run here.
"""
_base_ = './r50_last.py'
model = dict(with_sobel=True, backbone=dict(in_channels=2))
