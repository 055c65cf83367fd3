"""MoCo v1 (arXiv:1911.05722) as in r50_v1.py, in mixed precision.

Reproduces: no published result of its own; r50_v1.py is the reference.
Command: bash tools/dist_train.sh configs/selfsup/moco/r50_v1_fp16.py 8
Hardware and time: 8 GPUs; not run here.
Expected: as r50_v1.py within noise; not run here.
"""

_base_ = './r50_v1.py'

use_fp16 = True
