"""Fine-tuning as in r50_lr0_01_head1.py, of a backbone that sees edges (DeepCluster).
Reproduces: the DeepCluster row of OpenSelfSup's semi-supervised benchmark (1 %).
Command: bash benchmarks/dist_train_semi.sh configs/benchmarks/semi_classification/imagenet_1percent/r50_lr0_01_head1_sobel.py X.pth
Hardware and time: 4 GPUs (lr is for 4 x 64 images); not run here.
Expected: not run here.
"""
_base_ = './r50_lr0_01_head1.py'
model = dict(with_sobel=True, backbone=dict(in_channels=2))
