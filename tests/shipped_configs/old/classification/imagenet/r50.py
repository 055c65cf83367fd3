_base_ = '../../base.py'
model = dict(
    type='Classification', pretrained=None, with_sobel=False,
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=2048, num_classes=1000))
data_source_cfg = dict(type='ImageNet', memcached=True, mclient_path='/mnt/memcached_client')
data_train_list = 'data/imagenet/meta/train_labeled.txt'
data_train_root = 'data/imagenet/train'
dataset_type = 'ClassificationDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
data_test_list = 'data/imagenet/meta/val_labeled.txt'
data_test_root = 'data/imagenet/val'
train_pipeline = [
    dict(type='RandomResizedCrop', size=224), dict(type='RandomHorizontalFlip')]
test_pipeline = [dict(type='Resize', size=256), dict(type='CenterCrop', size=224)]
prefetch = True
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])
    test_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])
data = dict(
    imgs_per_gpu=32, workers_per_gpu=4,
    train=dict(
        type=dataset_type, data_source=dict(list_file=data_train_list, root=data_train_root, **data_source_cfg),
        pipeline=train_pipeline, prefetch=prefetch),
    val=dict(
        type=dataset_type, data_source=dict(list_file=data_test_list, root=data_test_root, **data_source_cfg),
        pipeline=test_pipeline, prefetch=prefetch))
custom_hooks = [
    dict(type='ValidateHook', dataset=data['val'], initial=True, interval=10, imgs_per_gpu=32, workers_per_gpu=4,
         prefetch=prefetch, img_norm_cfg=img_norm_cfg, eval_param=dict(topk=(1, 5)))]
optimizer = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.0001)
lr_config = dict(policy='step', step=[30, 60, 90])
checkpoint_config = dict(interval=10)
total_epochs = 90
