"""How ConvNeXt V2 is fine-tuned after FCMAE (arXiv:2301.00808, appendix A.1; the numbers of the authors' TRAINING.md).

Global batch 1024, AdamW with layer decay, fp16, random first weights of the classifier 1000 times smaller than those of the backbone.
The file that inherits writes sizes, epochs, warm-up, layer decay and how much is mixed.
"""

model = dict(
    type='Classification',
    backbone=dict(type='ConvNeXtV2'),
    head=dict(type='ClsHead', with_avg_pool=True, num_classes=1000, norm_cfg=dict(type='LN', eps=1e-6),
              init_std=2e-5),  # 0.02 x head_init_scale 0.001
    mixup=dict(type='Mixup', mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5, mode='batch', label_smoothing=0.1),
)
optimizer = dict(
    type='AdamW',
    betas=(0.9, 0.999),
    weight_decay=0.05,
    paramwise_options={'': dict(max_ndim=1, weight_decay=0.), r'\.(bias|gamma|beta)$': dict(weight_decay=0.)},
)
optimizer_config = dict(update_interval=4)
lr_config = dict(policy='WarmupCosine', min_lr=1e-6, warmup='linear', warmup_by_epoch=True, warmup_ratio=0.)
use_fp16 = True
average = dict(type='EMAHook', momentum=0.9999, evaluate=True)
custom_hooks = [average]
