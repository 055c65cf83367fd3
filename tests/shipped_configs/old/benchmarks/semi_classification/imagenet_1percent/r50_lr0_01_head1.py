_base_ = '../../../base.py'
model = dict(
    type='Classification', pretrained=None, with_sobel=False,
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=2048, num_classes=1000))
data_source_cfg = dict(type='ImageNet', memcached=True, mclient_path='/mnt/memcached_client')
data_train_list = 'data/imagenet/meta/train_labeled_1percent.txt'
data_train_root = 'data/imagenet/train'
dataset_type = 'ClassificationDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
data_test_list = 'data/imagenet/meta/val_labeled.txt'
data_test_root = 'data/imagenet/val'
train_pipeline = [
    dict(type='RandomResizedCrop', size=224), dict(type='RandomHorizontalFlip'),
    dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]
test_pipeline = [dict(type='Resize', size=256), dict(type='CenterCrop', size=224), dict(type='ToTensor'),
                 dict(type='Normalize', **img_norm_cfg)]
data = dict(
    imgs_per_gpu=64, workers_per_gpu=4,  # on 4 GPUs
    train=dict(
        type=dataset_type, data_source=dict(list_file=data_train_list, root=data_train_root, **data_source_cfg),
        pipeline=train_pipeline),
    val=dict(
        type=dataset_type, data_source=dict(list_file=data_test_list, root=data_test_root, **data_source_cfg),
        pipeline=test_pipeline))
custom_hooks = [
    dict(type='ValidateHook', dataset=data['val'], initial=True, interval=20, imgs_per_gpu=32, workers_per_gpu=4,
         eval_param=dict(topk=(1, 5)))]
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005, paramwise_options={
    '\Ahead.': dict(lr_mult=1)})  # noqa: W605
lr_config = dict(policy='step', step=[12, 16], gamma=0.2)
checkpoint_config = dict(interval=10)
log_config = dict(interval=10, hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')])
total_epochs = 20
