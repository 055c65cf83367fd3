"""Fine-tuning the small ResNet-18 with 10 % of CIFAR-10's labels (200 images of each class), 15 epochs, batch 50.

Reproduces: nothing published; shows the protocol on a checkpoint of configs/selfsup/*/r18_cifar10_small.py.
Command: GPUS=1 bash benchmarks/dist_train_semi.sh configs/benchmarks/semi_classification/cifar10/r18_small_10percent.py CHECKPOINT.pth
Hardware and time: 2 CPU cores with bf16 instructions, 3 minutes.
Expected: benchmarks/results/protocols/cifar10_small/semi_10percent_simclr.json
"""

_base_ = '../../../_base_/cifar10_classify.py'

# python tools/prepare_data/make_subset.py data/cifar10/train data/cifar10/meta/train_10percent.txt --share 0.1
data = dict(
    imgs_per_gpu=50,
    train=dict(data_source=dict(type='ImageList', list_file='data/cifar10/meta/train_10percent.txt')),
)
optimizer = dict(type='AdamW', lr=1e-3, weight_decay=0.05)
total_epochs = 15
