"""SimCLR (arXiv:2002.05709) as in r50_bs256_ep200.py, with global batch 512 and twice the learning rate.

Reproduces: no published result; a config of OpenSelfSup.
Command: bash tools/dist_train.sh configs/selfsup/simclr/r50_bs512_ep200.py 8
Hardware and time: 8 GPUs (lr is for 8 x 64 images); not run here.
Expected: above r50_bs256_ep200.py; not run here.
"""

_base_ = './r50_bs256_ep200.py'

data = dict(imgs_per_gpu=64)
optimizer = dict(lr=0.6)
