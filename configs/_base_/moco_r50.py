"""MoCo with ResNet-50 and its optimizer. The file that inherits writes `model.neck`, the temperature and the schedule."""

model = dict(
    type='MOCO',
    queue_len=65536,
    feat_dim=128,
    momentum=0.999,
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='BN')),
    head=dict(type='ContrastiveHead'),
)
optimizer = dict(type='SGD', lr=0.03, momentum=0.9, weight_decay=1e-4)
total_epochs = 200
