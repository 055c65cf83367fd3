_base_ = '../../base.py'
model = dict(
    type='RotationPred',
    pretrained=None,
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=2048, num_classes=4))
data_source_cfg = dict(type='ImageNet', memcached=True, mclient_path='/mnt/memcached_client')
data_train_list = 'data/imagenet/meta/train.txt'
data_train_root = 'data/imagenet/train'
dataset_type = 'RotationPredDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_pipeline = [dict(type='RandomResizedCrop', size=224), dict(type='RandomHorizontalFlip')]
prefetch = False
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])
data = dict(
    imgs_per_gpu=16, workers_per_gpu=4,
    train=dict(
        type=dataset_type,
        data_source=dict(list_file=data_train_list, root=data_train_root, **data_source_cfg),
        pipeline=train_pipeline, prefetch=prefetch))
optimizer = dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=0.0001, nesterov=False)
lr_config = dict(policy='step', step=[30, 50], warmup='linear', warmup_iters=5, warmup_ratio=0.1, warmup_by_epoch=True)
checkpoint_config = dict(interval=10)
total_epochs = 70
