"""ConvNeXtV2-F fine-tuned after FCMAE (arXiv:2301.00808) on ImageNet, 600 epochs at 224 pixels, global batch 1024.

Reproduces: the paper's ConvNeXtV2-F: top-1 78.5. The release has no settings for it. Assumed: those of A,
    with no drop path as in the paper's appendix, which was not at hand to verify it.
Command: bash tools/dist_train.sh configs/benchmarks/finetuning/imagenet/convnextv2_femto.py 8 --pretrained WEIGHTS
Hardware and time: 8 GPUs with 32 images each, 4 iterations per step; not run here.
Expected: the reference result; not run here.
"""

_base_ = 'convnextv2_atto.py'

model = dict(backbone=dict(arch='femto', drop_path_rate=0.), head=dict(in_channels=384))
