_base_ = '../../../base.py'
model = dict(
    type='Classification', pretrained=None, with_sobel=False,
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[0, 1, 2, 3, 4], frozen_stages=4,
                  norm_cfg=dict(type='BN')),
    head=dict(
        type='MultiClsHead', pool_type='specified', in_indices=[0, 1, 2, 3, 4], with_last_layer_unpool=False, backbone='resnet50',
        norm_cfg=dict(type='SyncBN', momentum=0.1, affine=False), num_classes=1000))
data_source_cfg = dict(type='ImageNet', memcached=True, mclient_path='/mnt/memcached_client')
data_train_list = 'data/imagenet/meta/train_labeled.txt'
data_train_root = 'data/imagenet/train'
dataset_type = 'ClassificationDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
data_test_list = 'data/imagenet/meta/val_labeled.txt'
data_test_root = 'data/imagenet/val'
train_pipeline = [
    dict(type='RandomResizedCrop', size=224), dict(type='RandomHorizontalFlip'),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.), dict(type='ToTensor'), dict(type='Lighting'),
    dict(type='Normalize', **img_norm_cfg)]
test_pipeline = [dict(type='Resize', size=256), dict(type='CenterCrop', size=224), dict(type='ToTensor'),
                 dict(type='Normalize', **img_norm_cfg)]
data = dict(
    imgs_per_gpu=32, workers_per_gpu=4,
    train=dict(
        type=dataset_type, data_source=dict(list_file=data_train_list, root=data_train_root, **data_source_cfg),
        pipeline=train_pipeline),
    val=dict(
        type=dataset_type, data_source=dict(list_file=data_test_list, root=data_test_root, **data_source_cfg),
        pipeline=test_pipeline))
custom_hooks = [
    dict(type='ValidateHook', dataset=data['val'], initial=True, interval=10, imgs_per_gpu=32, workers_per_gpu=4,
         eval_param=dict(topk=(1, 5)))]
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001, paramwise_options=dict(norm_decay_mult=0.), nesterov=True)
lr_config = dict(policy='step', step=[30, 60, 90])
checkpoint_config = dict(interval=10)
total_epochs = 90
