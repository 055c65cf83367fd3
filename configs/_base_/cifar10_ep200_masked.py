"""Standard CIFAR-10 runs of masked autoencoders: 200 epochs, blocks of 8 pixels of which 6 of 16 stay visible, AdamW.

Nobody has published such runs: rates are those of the small runs, for 128 images, with a warm-up of 10 epochs.
"""

_base_ = 'cifar10_ep200.py'

block = 8
model = dict(head=dict(type='MaskedPixelHead', patch_size=block), mask_ratio=0.6, block=block)
data = dict(train=dict(type='ExtractDataset', pipeline=[
    dict(type='RandomResizedCrop', size=32, scale=(0.5, 1.0)), dict(type='RandomHorizontalFlip'), *_base_.to_tensor]))
optimizer = dict(_delete_=True, type='AdamW', lr=1.5e-3, weight_decay=0.05, betas=(0.9, 0.95),
                 paramwise_options={'': dict(max_ndim=1, weight_decay=0.), r'\.bias$': dict(weight_decay=0.)})
lr_config = dict(policy='CosineAnnealing', by_epoch=False, min_lr=0, warmup='linear', warmup_iters=10, warmup_by_epoch=True,
                 warmup_ratio=0.01)
custom_hooks = [_base_.knn, dict(type='ReconstructionHook', interval=50)]
