"""How ConvNeXt V2 is fine-tuned on ImageNet-1k after it was on ImageNet-22k (arXiv:2301.00808, table 13).

Global batch 512, no warm-up, nothing mixed, hardly any weight decay. The file that inherits writes size, layer decay and drop path.
"""

_base_ = 'convnextv2_finetune.py'

model = dict(head=dict(label_smoothing=0.1), mixup=None)
optimizer = dict(base_lr=2.5e-5, weight_decay=1e-8)  # base_lr is for 256 images
optimizer_config = dict(update_interval=2)
lr_config = dict(warmup=None)
