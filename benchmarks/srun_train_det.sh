#!/usr/bin/env bash
# Train a detector (configs/benchmarks/detection) from the backbone in WEIGHTS, or 'random', then measure it on data.val: detection.json.
# Work dir: that of tools/train.py + name of WEIGHTS. Environment: what tools/srun_train.sh reads.
usage='usage: bash benchmarks/srun_train_det.sh PARTITION CONFIG WEIGHTS NGPUS [arguments of tools/train.py]'
source "$(dirname "$0")/common.sh"
need 4 999 "$@"
train detection "$1" "$4" "$2" "$3" "${@:5}"
