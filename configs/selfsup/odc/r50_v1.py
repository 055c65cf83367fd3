"""ODC, online deep clustering (arXiv:2006.10645), ResNet-50, ImageNet, 440 epochs, global batch 512, 10,000 clusters.

Reproduces: OpenSelfSup's model zoo, odc/r50_v1: VOC07 SVM 78.42 mAP, ImageNet linear 53.42 top-1 (pooled features).
Command: bash tools/dist_train.sh configs/selfsup/odc/r50_v1.py 8
Hardware and time: 8 GPUs (lr is for 8 x 64 images); not run here.
Expected: the reference result; not run here.
"""

_base_ = ['../../_base_/imagenet_pseudo_labels.py', '../../_base_/default_runtime.py']

num_classes = 10000
model = dict(
    type='ODC',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    neck=dict(type='NonLinearNeckV0', in_channels=2048, hid_channels=512, out_channels=256, sync_bn=True),
    head=dict(type='ClsHead', in_channels=256, num_classes=num_classes),
    memory_bank=dict(type='ODCMemory', length=1281167, feat_dim=256, momentum=0.5, num_classes=num_classes, min_cluster=20),
)
data = dict(sampling_replace=True)
custom_hooks = [
    dict(type='DeepClusterHook', extractor=_base_.extractor, clustering=dict(type='Kmeans', k=num_classes, pca_dim=-1),
         unif_sampling=False, reweight=False, reweight_pow=0.5, init_memory=True, initial=True, interval=1000000),  # only once
    dict(type='ODCHook', centroids_update_interval=10, deal_with_small_clusters_interval=1, evaluate_interval=50, reweight=True,
         reweight_pow=0.5),
]
optimizer = dict(type='SGD', lr=0.06, momentum=0.9, weight_decay=1e-5, paramwise_options={r'\Ahead.': dict(momentum=0.)})
lr_config = dict(policy='step', step=[400], gamma=0.4)
total_epochs = 440
