"""SwAV (arXiv:2006.09882), ResNet-50, ImageNet, 800 epochs, global batch 4096, 2 crops of 224 and 6 of 96 pixels.

Reproduces: the authors' run (scripts/swav_800ep_pretrain.sh): ImageNet linear 75.3 top-1;
    with total_epochs=100, 200, 400: 72.1, 73.9, 74.6.
Command: bash tools/srun_train.sh PARTITION configs/selfsup/swav/r50_bs4096_ep800.py 64
Hardware and time: 64 GPUs (lr and freeze are for 64 x 64 images); not run here.
Expected: the reference result; not run here.
"""

_base_ = './r50_bs256_ep200.py'

model = dict(queue_len=0)
optimizer = dict(lr=4.8)
optimizer_config = dict(freeze=[dict(parameters=r'^prototypes\.', iters=313)])  # one epoch
lr_config = dict(
    _delete_=True, policy='WarmupCosine', min_lr=0.0048, reach_peak=True, warmup='linear', warmup_iters=10, warmup_ratio=0.0625,
    warmup_by_epoch=True)
total_epochs = 800
