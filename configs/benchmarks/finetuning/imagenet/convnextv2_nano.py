"""ConvNeXtV2-N fine-tuned after FCMAE (arXiv:2301.00808) on ImageNet, 600 epochs at 224 pixels, global batch 1024.

Reproduces: the paper's ConvNeXtV2-N: top-1 81.9. Settings: the paper's table 9; the release has none.
Command: bash tools/dist_train.sh configs/benchmarks/finetuning/imagenet/convnextv2_nano.py 8 --pretrained WEIGHTS
Hardware and time: 8 GPUs with 32 images each, 4 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = 'convnextv2_atto.py'

model = dict(
    backbone=dict(arch='nano'),
    head=dict(in_channels=640, label_smoothing=0.),  # smoothed in the mixing
    mixup=dict(_delete_=True, type='Mixup', mixup_alpha=0.5, cutmix_alpha=0.5, label_smoothing=0.2),
)
