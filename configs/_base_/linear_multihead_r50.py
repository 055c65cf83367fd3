"""One linear classifier on each of five layers of a frozen ResNet-50. The file that inherits writes the data and the schedule."""

model = dict(
    type='Classification',
    backbone=dict(type='ResNet', depth=50, out_indices=[0, 1, 2, 3, 4], frozen_stages=4, norm_cfg=dict(type='BN')),
    head=dict(type='MultiClsHead', pool_type='specified', in_indices=[0, 1, 2, 3, 4], backbone='resnet50', num_classes=1000,
              norm_cfg=dict(type='SyncBN', momentum=0.1, affine=False)),
)
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4, nesterov=True)
