"""CNN-JEPA (arXiv:2408.07514) on 20,000 images of CIFAR-10: three stages of a ResNet-18 (0.7 M parameters), in minutes on two CPU cores.

Reproduces: nothing published; a small budget on real images. Blocks have 4 pixels, the stride of the
network: 64 per image.
Command: python tools/train.py configs/selfsup/cnn_jepa/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, under 10 minutes; without such instructions drop use_fp16.
Expected: kNN-20 top-1 38.6, linear probe 37.2 after 5 minutes, 35.6 and 35.4 untrained, seed 0 (docs/benchmarks/small_comparison.md)
"""

_base_ = '../../_base_/cifar10_small.py'

model = dict(
    type='CNNJEPA',
    predictor=dict(type='CNNJEPAPredictor', num_layers=3),
    block=4,
    base_momentum=0.97,
)
data = dict(
    imgs_per_gpu=128,
    train=dict(
        type='ExtractDataset',
        pipeline=[dict(type='RandomResizedCrop', size=32, scale=(0.2, 1.0)), dict(type='RandomHorizontalFlip'), *_base_.to_tensor],
    ),
)
total_epochs = 4
