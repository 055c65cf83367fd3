"""What SparK's fine-tuning of ResNets and ConvNeXts shares (arXiv:2301.03580; the numbers of the authors' code).

The file that inherits writes the network, its optimizer (LAMB for a ResNet, AdamW for a ConvNeXt), layer decay, batch and epochs.
"""

model = dict(
    type='Classification',
    head=dict(type='ClsHead', with_avg_pool=True, num_classes=1000),
    mixup=dict(type='Mixup', mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5, mode='batch', label_smoothing=0.1),
)
optimizer = dict(
    betas=(0.9, 0.999),
    paramwise_options={
        '': dict(max_ndim=1, weight_decay=0.),
        r'\.bias$|cls_token|pos_embed|mask_token|gamma': dict(weight_decay=0.),
    },
)
lr_config = dict(policy='WarmupCosine', min_lr_ratio=0.001, reach_end=True, warmup='linear', warmup_by_epoch=True, warmup_ratio=0.005)
average = dict(type='EMAHook', momentum=0.9999, evaluate=True)
