"""SimCLR (arXiv:2002.05709) as in r50_bs256_ep200.py, with the projection of MoCo v2 (no batch norm).

Reproduces: OpenSelfSup's model zoo, simclr/r50_bs256_ep200_mocov2_neck: VOC07 SVM 77.65 mAP, ImageNet linear 58.00 top-1.
Command: bash tools/dist_train.sh configs/selfsup/simclr/r50_bs256_ep200_mocov2_neck.py 8
Hardware and time: 8 GPUs; not run here.
Expected: the reference result or better; not run here.
"""

_base_ = './r50_bs256_ep200.py'

model = dict(neck=dict(_delete_=True, type='NonLinearNeckV1', in_channels=2048, hid_channels=2048, out_channels=128))
