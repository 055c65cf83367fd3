"""BYOL (arXiv:2006.07733), ResNet-50, ImageNet, 200 epochs, batch 4096 as 2 iterations of 2048, mixed precision.

Reproduces: OpenSelfSup's model zoo, byol/r50_bs2048_accumulate2_ep200_fp16: VOC07 SVM 85.86 mAP, ImageNet linear 71.61 top-1.
Command: bash tools/dist_train.sh configs/selfsup/byol/r50_bs2048_accumulate2_ep200_fp16.py 8
Hardware and time: 8 GPUs (lr is for 8 x 256 images, twice); not run here.
Expected: the reference result; not run here.
"""

_base_ = './r50_bs256_accumulate16_ep300.py'

update_interval = 2
data = dict(imgs_per_gpu=256)
optimizer_config = dict(update_interval=update_interval)
custom_hooks = [dict(type='BYOLHook', end_momentum=1., update_interval=update_interval)]
use_fp16 = True
total_epochs = 200
