"""MoCo v2 (arXiv:2003.04297) with SLaK-T (arXiv:2207.03620), ImageNet, 200 epochs, global batch 256.

Reproduces: nothing published: the views and the head of `r50_v2.py`, the optimizer of ConvNeXts.
Command: bash tools/dist_train.sh configs/selfsup/moco/slak_t.py 8
Hardware and time: 8 GPUs with 32 images each; the learning rate follows the global batch; not run here.
Expected: not known; not run here.
"""

_base_ = 'r50_v2.py'

model = dict(
    # BN per process, not SyncBN: MoCo shuffles the keys over the processes, so that statistics do not tell which key belongs to a query
    backbone=dict(_delete_=True, type='SLaK', arch='tiny', width_factor=1.3, drop_path_rate=0.1),
    neck=dict(in_channels=998),
)
optimizer = dict(
    _delete_=True,
    type='AdamW',
    base_lr=1.5e-4,  # for 256 images
    weight_decay=0.05,
    paramwise_options={'': dict(max_ndim=1, weight_decay=0.), r'\.bias$': dict(weight_decay=0.)},
)
lr_config = dict(_delete_=True, policy='WarmupCosine', min_lr=0., warmup='linear', warmup_iters=10, warmup_by_epoch=True, warmup_ratio=0.)
