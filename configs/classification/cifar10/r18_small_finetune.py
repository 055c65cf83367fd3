"""Fine-tuning the small ResNet-18 (arXiv:1512.03385) with the labels of 20,000 images of CIFAR-10, 1 epoch, batch 128.

Reproduces: nothing published; shows what a checkpoint of configs/selfsup/*/r18_cifar10_small.py gives a short training.
Command: GPUS=1 bash benchmarks/dist_train_finetune.sh configs/classification/cifar10/r18_small_finetune.py CHECKPOINT.pth
Hardware and time: 2 CPU cores with bf16 instructions, 2.5 minutes.
Expected: benchmarks/results/protocols/cifar10_small/finetune_simclr.json
"""

_base_ = '../../_base_/cifar10_classify.py'

data = dict(imgs_per_gpu=128)
optimizer = dict(type='AdamW', lr=1e-3, weight_decay=0.05)
total_epochs = 1
