"""Fine-tuning the small ResNet-18 with 1 % of CIFAR-10's labels (20 images of each class), 40 epochs, batch 50.

Reproduces: nothing published; shows the protocol on a checkpoint of configs/selfsup/*/r18_cifar10_small.py.
Command: GPUS=1 bash benchmarks/dist_train_semi.sh configs/benchmarks/semi_classification/cifar10/r18_small_1percent.py CHECKPOINT.pth
Hardware and time: 2 CPU cores with bf16 instructions, 1.5 minutes.
Expected: benchmarks/results/protocols/cifar10_small/semi_1percent_simclr.json
"""

_base_ = '../../../_base_/cifar10_classify.py'

# python tools/prepare_data/make_subset.py data/cifar10/train data/cifar10/meta/train_1percent.txt --share 0.01
data = dict(
    imgs_per_gpu=50,
    train=dict(data_source=dict(type='ImageList', list_file='data/cifar10/meta/train_1percent.txt')),
)
optimizer = dict(type='AdamW', lr=1e-3, weight_decay=0.05)
total_epochs = 40
