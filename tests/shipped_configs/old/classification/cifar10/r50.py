_base_ = '../../base.py'
model = dict(
    type='Classification', pretrained=None, with_sobel=False,
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='BN')),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=2048, num_classes=10))
data_source_cfg = dict(type='Cifar10', root='data/cifar')
dataset_type = 'ClassificationDataset'
img_norm_cfg = dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2023, 0.1994, 0.201])
train_pipeline = [
    dict(type='RandomCrop', size=32, padding=4), dict(type='RandomHorizontalFlip'),
    dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]
test_pipeline = [dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]
data = dict(
    imgs_per_gpu=128, workers_per_gpu=2,
    train=dict(
        type=dataset_type, data_source=dict(split='train', **data_source_cfg),
        pipeline=train_pipeline),
    val=dict(
        type=dataset_type, data_source=dict(split='test', **data_source_cfg),
        pipeline=test_pipeline))
custom_hooks = [
    dict(type='ValidateHook', dataset=data['val'], initial=True, interval=1, imgs_per_gpu=128, workers_per_gpu=2,
         eval_param=dict(topk=(1, 5)))]
optimizer = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.0005)
lr_config = dict(policy='step', step=[150, 250])
checkpoint_config = dict(interval=50)
total_epochs = 350
