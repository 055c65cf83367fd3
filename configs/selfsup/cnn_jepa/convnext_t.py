"""CNN-JEPA (arXiv:2408.07514), ConvNeXt-T, ImageNet, 100 epochs at 224 pixels, global batch 512.

Reproduces: nothing published: the recipe of the ResNet-50 with the predictor that the authors' code has for ConvNeXts.
Command: bash tools/dist_train.sh configs/selfsup/cnn_jepa/convnext_t.py 4
Hardware and time: 4 GPUs with 128 images each; not run here.
Expected: not known; not run here. A rate of 0.01 is high for AdamW: watch target_spread in the log, and halve the rate where it falls to 0.
"""

_base_ = '../../_base_/cnn_jepa_pretrain.py'

model = dict(
    backbone=dict(type='ConvNeXt', arch='tiny', out_indices=(4,)),
    predictor=dict(norm='ln'),
)
