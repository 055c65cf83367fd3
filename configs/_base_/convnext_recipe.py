"""How ConvNeXt and SLaK are trained from scratch (arXiv:2201.03545, appendix A.1): 300 epochs at a global batch of 4096 images.

The learning rate is for that batch; the configs reach it as imgs_per_gpu x GPUs x update_interval. In the warm-up it climbs with every
optimizer step from 0 to the peak, where it stays for one more step, and falls along a cosine.
"""

model = dict(
    type='Classification',
    head=dict(type='ClsHead', with_avg_pool=True, num_classes=1000, norm_cfg=dict(type='LN', eps=1e-6), init_std=0.02),
    mixup=dict(type='Mixup', mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5, mode='batch', label_smoothing=0.1),
)
optimizer = dict(
    type='AdamW',
    lr=4e-3,
    betas=(0.9, 0.999),
    weight_decay=0.05,
    paramwise_options={'': dict(max_ndim=1, weight_decay=0.), r'\.bias$': dict(weight_decay=0.)},
)
optimizer_config = dict(update_interval=8)
lr_config = dict(policy='WarmupCosine', min_lr=1e-6, warmup='linear', warmup_iters=20, warmup_by_epoch=True, warmup_ratio=0.,
                 reach_peak=True)
average = dict(type='EMAHook', momentum=0.9999, evaluate=True)
total_epochs = 300
