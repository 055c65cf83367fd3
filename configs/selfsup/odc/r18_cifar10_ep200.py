"""ODC, online deep clustering (arXiv:2006.10645) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: nothing published.
Command: python tools/train.py configs/selfsup/odc/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200.py'

num_classes = 100
model = dict(
    type='ODC',
    neck=dict(type='NonLinearNeckV0', in_channels=_base_.channels, hid_channels=512, out_channels=256, sync_bn=False),
    head=dict(type='ClsHead', in_channels=256, num_classes=num_classes),
    memory_bank=dict(type='ODCMemory', length=50000, feat_dim=256, momentum=0.5, num_classes=num_classes, min_cluster=20),
)
data = dict(train=dict(type='DeepClusterDataset'), sampling_replace=True)
extractor = dict(
    imgs_per_gpu=256, workers_per_gpu=4,
    dataset=dict(type='ExtractDataset', data_source=_base_.source, pipeline=_base_.to_tensor))
custom_hooks = [
    dict(type='DeepClusterHook', extractor=extractor, clustering=dict(type='Kmeans', k=num_classes, pca_dim=-1),
         unif_sampling=False, reweight=False, reweight_pow=0.5, init_memory=True, initial=True, interval=1000000),  # only once
    dict(type='ODCHook', centroids_update_interval=10, deal_with_small_clusters_interval=1, evaluate_interval=50, reweight=True,
         reweight_pow=0.5),
    _base_.knn,
]
optimizer = dict(weight_decay=1e-4, paramwise_options={r'\Ahead.': dict(momentum=0.)})
