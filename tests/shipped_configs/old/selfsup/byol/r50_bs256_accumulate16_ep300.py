import copy

_base_ = '../../base.py'
model = dict(
    type='BYOL', base_momentum=0.99, pre_conv=True,
    pretrained=None,
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    neck=dict(type='NonLinearNeckSimCLR', in_channels=2048, hid_channels=4096, out_channels=256, num_layers=2, sync_bn=True,
              with_bias=True, with_last_bn=False, with_avg_pool=True),
    head=dict(type='LatentPredictHead', size_average=True, predictor=dict(
        type='NonLinearNeckSimCLR', in_channels=256, hid_channels=4096, out_channels=256, num_layers=2, sync_bn=True,
        with_bias=True, with_last_bn=False, with_avg_pool=False)))
data_source_cfg = dict(type='ImageNet', memcached=True, mclient_path='/mnt/memcached_client')
data_train_list = 'data/imagenet/meta/train.txt'
data_train_root = 'data/imagenet/train'
dataset_type = 'BYOLDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_pipeline = [
    dict(type='RandomResizedCrop', size=224, interpolation=3), dict(type='RandomHorizontalFlip'),
    dict(type='RandomAppliedTrans', p=0.8, transforms=[
        dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)]),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='RandomAppliedTrans', p=1., transforms=[dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0)]),
    dict(type='RandomAppliedTrans', p=0., transforms=[dict(type='Solarization')])]
prefetch = False
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])
train_pipeline1 = copy.deepcopy(train_pipeline)
train_pipeline2 = copy.deepcopy(train_pipeline)
train_pipeline2[4]['p'] = 0.1
train_pipeline2[5]['p'] = 0.2
data = dict(
    imgs_per_gpu=32, workers_per_gpu=4,
    train=dict(
        type=dataset_type,
        data_source=dict(list_file=data_train_list, root=data_train_root, **data_source_cfg),
        pipeline1=train_pipeline1, pipeline2=train_pipeline2, prefetch=prefetch))
update_interval = 16  # 4096 images per step
custom_hooks = [dict(type='BYOLHook', end_momentum=1., update_interval=update_interval)]
optimizer = dict(type='LARS', lr=4.8, weight_decay=0.000001, momentum=0.9, paramwise_options={
    r'(bn|gn)(\d+)?.(weight|bias)': dict(weight_decay=0., lars_exclude=True), 'bias': dict(weight_decay=0., lars_exclude=True)})
use_fp16 = False
optimizer_config = dict(update_interval=update_interval, use_fp16=use_fp16)
lr_config = dict(policy='CosineAnnealing', min_lr=0., warmup='linear', warmup_iters=10, warmup_ratio=0.0001, warmup_by_epoch=True)
checkpoint_config = dict(interval=10)
total_epochs = 300
