"""Supervised ResNet-18 (arXiv:1512.03385) of the small runs, from random weights with the labels of 20,000 images of CIFAR-10, batch 256.

Reproduces: nothing published; stands beside configs/selfsup/*/r18_cifar10_small.py as what labels give at the same budget.
Command: python tools/train.py configs/classification/cifar10/r18_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, minutes; without such instructions drop use_fp16.
Expected: see docs/benchmarks/small_comparison.md, for which benchmarks/small/compare.py trains it.
"""

_base_ = '../../_base_/cifar10_classify.py'

data = dict(drop_last=True)
optimizer = dict(type='AdamW', lr=2e-3, weight_decay=1e-4)
lr_config = dict(warmup='linear', warmup_iters=20, warmup_ratio=0.1)
total_epochs = 8
