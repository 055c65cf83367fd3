"""CNN-JEPA (arXiv:2408.07514), ResNet-50, ImageNet, 100 epochs at 224 pixels, global batch 512.

Reproduces: the authors' recipe for ImageNet-1k; they publish 73.3 linear top-1 after 200 epochs of ImageNet-100, of the momentum backbone.
Command: bash tools/dist_train.sh configs/selfsup/cnn_jepa/r50.py 4
Hardware and time: 4 GPUs with 128 images each; the learning rate does not follow the global batch; not run here.
Expected: not known; not run here.
"""

_base_ = '../../_base_/cnn_jepa_pretrain.py'

model = dict(backbone=dict(type='TIMMBackbone', model_name='resnet50'))
