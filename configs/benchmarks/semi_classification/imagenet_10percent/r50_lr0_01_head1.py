"""Fine-tuning ResNet-50 with 10 % of ImageNet's labels, 20 epochs, global batch 256, lr 0.01, head lr x1.
Reproduces: a setting of OpenSelfSup's semi-supervised benchmark (10 %), of which the best counts for each method.
Command: bash benchmarks/dist_train_semi.sh configs/benchmarks/semi_classification/imagenet_10percent/r50_lr0_01_head1.py X.pth
Hardware and time: 4 GPUs (lr is for 4 x 64 images); not run here.
Expected: not run here.
"""
_base_ = ['../../../_base_/semi_r50.py', '../../../_base_/imagenet_labelled.py', '../../../_base_/default_runtime.py']

data = dict(imgs_per_gpu=64, train=dict(data_source=dict(list_file='data/imagenet/meta/train_labeled_10percent.txt')))
optimizer = dict(weight_decay=1e-4)
log_config = dict(interval=10)
custom_hooks = [dict(interval=20, **_base_.validation)]
