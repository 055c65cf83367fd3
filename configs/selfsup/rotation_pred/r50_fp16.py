"""Rotation prediction (arXiv:1803.07728) as in r50.py, in mixed precision.

Reproduces: no published result of its own; r50.py is the reference.
Command: bash tools/dist_train.sh configs/selfsup/rotation_pred/r50_fp16.py 8
Hardware and time: 8 GPUs; not run here.
Expected: as r50.py within noise; not run here.
"""

_base_ = './r50.py'

use_fp16 = True
