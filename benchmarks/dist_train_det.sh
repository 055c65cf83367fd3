#!/usr/bin/env bash
# Train a detector (configs/benchmarks/detection) from the backbone in WEIGHTS, or 'random', then measure it on data.val: detection.json.
# Work dir: that of tools/train.py + name of WEIGHTS.
usage='usage: bash benchmarks/dist_train_det.sh CONFIG WEIGHTS NGPUS [arguments of tools/train.py]'
source "$(dirname "$0")/common.sh"
need 3 999 "$@"
train detection '' "$3" "$1" "$2" "${@:4}"
