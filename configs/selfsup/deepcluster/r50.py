"""DeepCluster (arXiv:1807.05520) on edges (Sobel), ResNet-50, ImageNet, 200 epochs, global batch 512, 10,000 clusters.

Reproduces: OpenSelfSup's model zoo, deepcluster/r50: VOC07 SVM 74.26 mAP, ImageNet linear 46.92 top-1 (pooled features).
Command: bash tools/dist_train.sh configs/selfsup/deepcluster/r50.py 8
Hardware and time: 8 GPUs (lr is for 8 x 64 images); not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../_base_/imagenet_pseudo_labels.py', '../../_base_/default_runtime.py']

num_classes = 10000
model = dict(
    type='DeepCluster',
    with_sobel=True,
    backbone=dict(type='ResNet', depth=50, in_channels=2, out_indices=[4], norm_cfg=dict(type='BN')),
    neck=dict(type='AvgPoolNeck'),
    head=dict(type='ClsHead', in_channels=2048, num_classes=num_classes),
)
custom_hooks = [
    dict(type='DeepClusterHook', extractor=_base_.extractor, clustering=dict(type='Kmeans', k=num_classes, pca_dim=256),
         unif_sampling=True, reweight=False, reweight_pow=0.5, initial=True, interval=1),
]
optimizer = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-5, paramwise_options={r'\Ahead.': dict(momentum=0.)})
lr_config = dict(policy='step', step=[400])  # as published: constant
total_epochs = 200
