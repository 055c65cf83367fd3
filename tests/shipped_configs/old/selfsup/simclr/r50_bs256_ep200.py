_base_ = '../../base.py'
model = dict(
    type='SimCLR',
    pretrained=None,
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    neck=dict(type='NonLinearNeckSimCLR', in_channels=2048, hid_channels=2048, out_channels=128, num_layers=2, with_avg_pool=True),
    head=dict(type='ContrastiveHead', temperature=0.1))
data_source_cfg = dict(type='ImageNet', memcached=True, mclient_path='/mnt/memcached_client')
data_train_list = 'data/imagenet/meta/train.txt'
data_train_root = 'data/imagenet/train'
dataset_type = 'ContrastiveDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_pipeline = [
    dict(type='RandomResizedCrop', size=224),
    dict(type='RandomHorizontalFlip'),
    dict(type='RandomAppliedTrans', p=0.8, transforms=[
        dict(type='ColorJitter', brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)]),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='RandomAppliedTrans', p=0.5, transforms=[dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0)])]
prefetch = True
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])
data = dict(
    imgs_per_gpu=32, workers_per_gpu=4,
    train=dict(
        type=dataset_type,
        data_source=dict(list_file=data_train_list, root=data_train_root, **data_source_cfg),
        pipeline=train_pipeline, prefetch=prefetch))
optimizer = dict(type='LARS', lr=0.3, weight_decay=0.000001, momentum=0.9, paramwise_options={
    r'(bn|gn)(\d+)?.(weight|bias)': dict(weight_decay=0., lars_exclude=True), 'bias': dict(weight_decay=0., lars_exclude=True)})
lr_config = dict(policy='CosineAnnealing', min_lr=0., warmup='linear', warmup_iters=10, warmup_ratio=0.0001, warmup_by_epoch=True)
checkpoint_config = dict(interval=10)
total_epochs = 200
