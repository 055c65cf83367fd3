"""SparK's model without its backbone, its data and its optimisation: 1600 epochs at 224 pixels with LAMB, global batch 4096.

The file that inherits writes `model.backbone`, and `neck.norm='ln'` and the second beta where that is a ConvNeXt.
"""

_base_ = ['default_runtime.py', 'imagenet_single_view.py']

size = 224
model = dict(
    type='SparK',
    neck=dict(type='SparKNeck', norm='bn'),
    decoder=dict(type='LightDecoder', width=768),
    head=dict(type='MaskedPixelHead', patch_size=32),
    mask_ratio=0.6,
    sync_bn=True,
)
data = dict(
    imgs_per_gpu=128,
    train=dict(pipeline=[
        dict(type='RandomResizedCrop', size=size, scale=(0.67, 1.0), interpolation=3),  # 3: bicubic
        dict(type='RandomHorizontalFlip'),
        *_base_.to_tensor,
    ]),
)
custom_hooks = [dict(type='ReconstructionHook', interval=50)]
optimizer = dict(
    type='LAMB',
    base_lr=2e-4,  # for 256 images
    weight_decay=0.04,
    betas=(0.9, 0.95),
    max_grad_norm=5.,
    paramwise_options={
        '': dict(max_ndim=1, weight_decay=0.),
        r'\.bias$|cls_token|pos_embed|mask_token|gamma': dict(weight_decay=0.),
    },
)
lr_config = dict(policy='WarmupCosine', min_lr_ratio=0.001, reach_end=True,
                 warmup='linear', warmup_iters=40, warmup_by_epoch=True, warmup_ratio=0.005)
weight_decay_config = dict(end=0.2)
log_config = dict(interval=100)
channels_last = True  # visible blocks are stored that way
total_epochs = 1600
