"""ODC, online deep clustering (arXiv:2006.10645) on 20,000 images of CIFAR-10, in minutes on two CPU cores.

Reproduces: nothing published; shows that the method learns real images within a small budget.
Command: python tools/train.py configs/selfsup/odc/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, under 10 minutes; without such instructions drop use_fp16.
Expected: benchmarks/results/small/odc.json
"""

_base_ = '../../_base_/cifar10_small.py'

num_classes = 100
model = dict(
    type='ODC',
    neck=dict(type='NonLinearNeckV0', in_channels=_base_.channels, hid_channels=256, out_channels=128, sync_bn=False),
    head=dict(type='ClsHead', in_channels=128, num_classes=num_classes),
    memory_bank=dict(type='ODCMemory', length=20000, feat_dim=128, momentum=0.5, num_classes=num_classes, min_cluster=20),
)
data = dict(train=dict(type='DeepClusterDataset'), sampling_replace=True)
extractor = dict(
    imgs_per_gpu=256, workers_per_gpu=0,
    dataset=dict(type='ExtractDataset', data_source=_base_.source, pipeline=_base_.to_tensor))
custom_hooks = [
    dict(type='DeepClusterHook', extractor=extractor, clustering=dict(type='Kmeans', k=num_classes, pca_dim=-1),
         unif_sampling=False, reweight=False, reweight_pow=0.5, init_memory=True, initial=True, interval=1000000),  # only once
    dict(type='ODCHook', centroids_update_interval=10, deal_with_small_clusters_interval=1, evaluate_interval=50, reweight=True,
         reweight_pow=0.5),
    _base_.knn,
]
optimizer = dict(_delete_=True, type='SGD', lr=0.06, momentum=0.9, weight_decay=1e-4, paramwise_options={r'\Ahead.': dict(momentum=0.)})
total_epochs = 10
