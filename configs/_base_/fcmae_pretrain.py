"""FCMAE's model without the size of its backbone, its data and its optimisation: 1600 epochs at 224 pixels, global batch 4096."""

_base_ = ['default_runtime.py', 'imagenet_single_view.py']

size = 224
model = dict(
    type='FCMAE',
    backbone=dict(type='ConvNeXtV2', out_indices=(4,)),
    decoder=dict(type='ConvNeXtV2Decoder', width=512, depth=1),
    head=dict(type='MaskedPixelHead', patch_size=32),
    mask_ratio=0.6,
)
data = dict(
    drop_last=True,
    train=dict(pipeline=[
        dict(type='RandomResizedCrop', size=size, scale=(0.2, 1.0), interpolation=3),  # 3: bicubic
        dict(type='RandomHorizontalFlip'),
        *_base_.to_tensor,
    ]),
)
custom_hooks = [dict(type='ReconstructionHook', interval=50)]
optimizer = dict(
    type='AdamW',
    base_lr=1.5e-4,  # for 256 images
    weight_decay=0.05,
    betas=(0.9, 0.95),
    paramwise_options={'': dict(max_ndim=1, weight_decay=0.), r'\.bias$': dict(weight_decay=0.)},
)
lr_config = dict(policy='WarmupCosine', min_lr=0., warmup='linear', warmup_iters=40, warmup_by_epoch=True, warmup_ratio=0.)
channels_last = True  # visible blocks are stored that way
total_epochs = 1600
