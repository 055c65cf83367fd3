_base_ = '../../base.py'
model = dict(
    type='MOCO', queue_len=65536, feat_dim=128, momentum=0.999,
    pretrained=None,
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='BN')),
    neck=dict(type='LinearNeck', in_channels=2048, out_channels=128, with_avg_pool=True),
    head=dict(type='ContrastiveHead', temperature=0.07))
data_source_cfg = dict(type='ImageNet', memcached=True, mclient_path='/mnt/memcached_client')
data_train_list = 'data/imagenet/meta/train.txt'
data_train_root = 'data/imagenet/train'
dataset_type = 'ContrastiveDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_pipeline = [
    dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.)),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4),
    dict(type='RandomHorizontalFlip')]
prefetch = True
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])
data = dict(
    imgs_per_gpu=32, workers_per_gpu=4, drop_last=True,
    train=dict(
        type=dataset_type,
        data_source=dict(list_file=data_train_list, root=data_train_root, **data_source_cfg),
        pipeline=train_pipeline, prefetch=prefetch))
optimizer = dict(type='SGD', lr=0.03, weight_decay=0.0001, momentum=0.9)
lr_config = dict(policy='step', step=[120, 160])
checkpoint_config = dict(interval=10)
total_epochs = 200
