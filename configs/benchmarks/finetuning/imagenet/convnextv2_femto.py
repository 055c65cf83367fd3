"""ConvNeXtV2-F fine-tuned after FCMAE (arXiv:2301.00808) on ImageNet, 600 epochs at 224 pixels, global batch 1024.

Reproduces: the paper's ConvNeXtV2-F: top-1 78.5. Settings: the paper's table 9; the release has none.
Command: bash tools/dist_train.sh configs/benchmarks/finetuning/imagenet/convnextv2_femto.py 8 --pretrained WEIGHTS
Hardware and time: 8 GPUs with 32 images each, 4 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = 'convnextv2_atto.py'

model = dict(
    backbone=dict(arch='femto', drop_path_rate=0.),
    head=dict(in_channels=384, label_smoothing=0.),  # smoothed in the mixing
    mixup=dict(_delete_=True, type='Mixup', mixup_alpha=0.3, cutmix_alpha=0.3, label_smoothing=0.2),
)
optimizer = dict(weight_decay=0.05)
