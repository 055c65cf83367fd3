"""CNN-JEPA's model without its backbone, its data and its optimisation: 100 epochs of ImageNet at 224 pixels, 4 GPUs with 128 images each.

The file that inherits writes `model.backbone`, and `predictor.norm='ln'` where that is a ConvNeXt.
"""

_base_ = ['default_runtime.py', 'imagenet_single_view.py']

model = dict(
    type='CNNJEPA',
    predictor=dict(type='CNNJEPAPredictor', num_layers=3, kernel_size=3, norm='bn'),
    mask_ratio=0.6,  # of the random masks
    multi_block=0.75,
    base_momentum=0.996,
)
data = dict(
    imgs_per_gpu=128,
    drop_last=True,
    train=dict(pipeline=[
        dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.0), interpolation=3),  # 3: bicubic
        dict(type='RandomHorizontalFlip'),
        *_base_.to_tensor,
    ]),
)
optimizer = dict(type='AdamW', lr=0.01, weight_decay=0.01)
lr_config = dict(policy='WarmupCosine', min_lr_ratio=0.001, reach_end=True,
                 warmup='linear', warmup_iters=10, warmup_by_epoch=True, warmup_ratio=0., skip_start=True)
use_fp16 = True  # float16 with a scaled loss on CUDA, where the authors had bfloat16
log_config = dict(interval=100)
channels_last = True  # visible blocks are stored that way
total_epochs = 100
