"""Fine-tuning ResNet-50 with 10 % of ImageNet's labels, 20 epochs, global batch 256, lr 0.1, head lr x10.
Reproduces: a setting of OpenSelfSup's semi-supervised benchmark (10 %), of which the best counts for each method.
Command: bash benchmarks/dist_train_semi.sh configs/benchmarks/semi_classification/imagenet_10percent/r50_lr0_1_head10.py X.pth
Hardware and time: 4 GPUs (lr is for 4 x 64 images); not run here.
Expected: not run here.
"""
_base_ = './r50_lr0_01_head1.py'
optimizer = dict(lr=0.1, paramwise_options={r'\Ahead.': dict(lr_mult=10)})
