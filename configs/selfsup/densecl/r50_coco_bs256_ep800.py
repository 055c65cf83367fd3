"""DenseCL (arXiv:2011.09157), ResNet-50, COCO without labels, 800 epochs, global batch 256.

Reproduces: the authors' README: VOC detection 56.7 AP, VOC segmentation 67.5 mIoU, means of 5 trials.
Command: bash tools/dist_train.sh configs/selfsup/densecl/r50_coco_bs256_ep800.py 8 (images in data/coco/train2017/)
Hardware and time: 8 GPUs (lr is for 8 x 32 images); not run here.
Expected: the authors' result; not run here.
"""

_base_ = '../moco/r50_v2.py'

model = dict(
    type='DenseCL',
    neck=dict(_delete_=True, type='DenseCLNeck', in_channels=2048, hid_channels=2048, out_channels=128),
    loss_lambda=0.5,
)
data = dict(train=dict(data_source=dict(_delete_=True, type='ImageFolder', root='data/coco/train2017')))
optimizer = dict(lr=0.3)
total_epochs = 800
