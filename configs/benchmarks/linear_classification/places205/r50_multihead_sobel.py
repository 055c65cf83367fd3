"""Linear classification as in r50_multihead.py, of a backbone that sees edges (DeepCluster).
Reproduces: the DeepCluster rows of OpenSelfSup's model zoo: 18.80, 33.93, 41.44, 47.22, 42.61 top-1.
Command: bash benchmarks/dist_train_linear.sh configs/benchmarks/linear_classification/places205/r50_multihead_sobel.py BACKBONE.pth
Hardware and time: 8 GPUs (lr is for 8 x 32 images); not run here.
Expected: the reference result; not run here.
"""
_base_ = './r50_multihead.py'
model = dict(with_sobel=True, backbone=dict(in_channels=2))
