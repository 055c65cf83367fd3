"""DeepCluster (arXiv:1807.05520) on 20,000 images of CIFAR-10, in minutes on two CPU cores.

Reproduces: nothing published; shows that the method learns real images within a small budget.
Command: python tools/train.py configs/selfsup/deepcluster/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, under 10 minutes; without such instructions drop use_fp16.
Expected: benchmarks/results/small/deepcluster.json
"""

_base_ = '../../_base_/cifar10_small.py'

num_classes = 50
model = dict(
    type='DeepCluster',
    neck=dict(type='NonLinearNeckV0', in_channels=_base_.channels, hid_channels=256, out_channels=128, sync_bn=False),
    head=dict(type='ClsHead', in_channels=128, num_classes=num_classes),
)
data = dict(train=dict(type='DeepClusterDataset'))
extractor = dict(
    imgs_per_gpu=256, workers_per_gpu=0,
    dataset=dict(type='ExtractDataset', data_source=_base_.source, pipeline=_base_.to_tensor))
custom_hooks = [
    dict(type='DeepClusterHook', extractor=extractor, clustering=dict(type='Kmeans', k=num_classes, pca_dim=64),
         unif_sampling=True, reweight=False, reweight_pow=0.5, initial=True, interval=2),
    _base_.knn,
]
optimizer = dict(_delete_=True, type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-4, paramwise_options={r'\Ahead.': dict(momentum=0.)})
lr_config = dict(_delete_=True, policy='step', step=[5])  # not to 0: a new head has to be learned after each clustering
total_epochs = 6
