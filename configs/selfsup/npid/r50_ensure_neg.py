"""NPID (arXiv:1805.01978) as in r50.py; an image is never its own negative.

Reproduces: OpenSelfSup's model zoo, npid/r50_ensure_neg: VOC07 SVM 75.70 mAP.
Command: bash tools/dist_train.sh configs/selfsup/npid/r50_ensure_neg.py 8
Hardware and time: 8 GPUs; not run here.
Expected: the reference result; not run here.
"""

_base_ = './r50.py'

model = dict(ensure_neg=True)
