"""DeepCluster (arXiv:1807.05520) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: nothing published.
Command: python tools/train.py configs/selfsup/deepcluster/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200.py'

num_classes = 100
model = dict(
    type='DeepCluster',
    neck=dict(type='NonLinearNeckV0', in_channels=_base_.channels, hid_channels=512, out_channels=256, sync_bn=False),
    head=dict(type='ClsHead', in_channels=256, num_classes=num_classes),
)
data = dict(train=dict(type='DeepClusterDataset'))
extractor = dict(
    imgs_per_gpu=256, workers_per_gpu=4,
    dataset=dict(type='ExtractDataset', data_source=_base_.source, pipeline=_base_.to_tensor))
custom_hooks = [
    dict(type='DeepClusterHook', extractor=extractor, clustering=dict(type='Kmeans', k=num_classes, pca_dim=128),
         unif_sampling=True, reweight=False, reweight_pow=0.5, initial=True, interval=1),
    _base_.knn,
]
optimizer = dict(lr=0.05, weight_decay=1e-4, paramwise_options={r'\Ahead.': dict(momentum=0.)})
lr_config = dict(_delete_=True, policy='step', step=[160])  # not to 0: a new head has to be learned after each clustering
