"""CNN-JEPA (arXiv:2408.07514) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: nothing: the authors have no CIFAR-10; a predictor of three layers, blocks of 8 pixels on a grid of 4 x 4.
Command: python tools/train.py configs/selfsup/cnn_jepa/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200.py'

model = dict(
    type='CNNJEPA',
    predictor=dict(type='CNNJEPAPredictor', num_layers=3),
    block=8,  # the stride of the last map
    base_momentum=0.996,
)
data = dict(train=dict(
    type='ExtractDataset',
    pipeline=[dict(type='RandomResizedCrop', size=32, scale=(0.2, 1.0)), dict(type='RandomHorizontalFlip'), *_base_.to_tensor]))
optimizer = dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=0.01)
lr_config = dict(_delete_=True, policy='CosineAnnealing', by_epoch=False, min_lr=0, warmup='linear', warmup_iters=10, warmup_by_epoch=True,
                 warmup_ratio=0.01)
