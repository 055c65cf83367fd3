"""MoCo v2 (arXiv:2003.04297) as in r50_v2.py, with SimCLR's projection (batch norm after both layers).

Reproduces: no published result; an ablation of OpenSelfSup.
Command: bash tools/dist_train.sh configs/selfsup/moco/r50_v2_simclr_neck.py 8
Hardware and time: 8 GPUs; not run here.
Expected: not run here.
"""

_base_ = './r50_v2.py'

model = dict(neck=dict(_delete_=True, type='NonLinearNeckSimCLR', in_channels=2048, hid_channels=2048, out_channels=128, num_layers=2))
