"""Linear classification of CIFAR-10 (20,000 images) on the pooled features of the frozen small ResNet-18, 2 epochs, batch 256.

Reproduces: nothing published; shows the protocol on a checkpoint of configs/selfsup/*/r18_cifar10_small.py.
Command: GPUS=1 bash benchmarks/dist_train_linear.sh configs/benchmarks/linear_classification/cifar10/r18_small.py CHECKPOINT.pth
Hardware and time: 2 CPU cores with bf16 instructions, 1.2 minutes.
Expected: top-1 44.6 from SimCLR's small run, 21.8 from random weights, seed 0. With tools/linear_cached.py, 30 epochs at the best
  of five rates: 53.2 and 35.4.
"""

_base_ = '../../../_base_/cifar10_classify.py'

model = dict(backbone=dict(frozen_stages=3))
optimizer = dict(type='SGD', lr=0.5, momentum=0.9, weight_decay=0.)
total_epochs = 2
