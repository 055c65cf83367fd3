"""Fine-tuning ResNet-50 with few labels. The file that inherits writes the list of labels and the learning rates."""

model = dict(
    type='Classification',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=2048, num_classes=1000),
)
optimizer = dict(type='SGD', lr=0.01, momentum=0.9)
lr_config = dict(policy='step', step=[12, 16], gamma=0.2)
total_epochs = 20
