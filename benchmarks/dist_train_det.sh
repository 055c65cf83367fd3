#!/usr/bin/env bash
# bash benchmarks/dist_train_det.sh CONFIG WEIGHTS NGPUS [arguments of tools/train.py]
# Train a detector (configs/benchmarks/detection) from the backbone in WEIGHTS, or 'random', then measure it on data.val: detection.json.
# Work dir: that of tools/train.py + name of WEIGHTS.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: bash benchmarks/dist_train_det.sh CONFIG WEIGHTS NGPUS [arguments of tools/train.py]" >&2
    exit 2
fi
source "$(dirname "$0")/common.sh"
train_detector '' "$3" "$1" "$2" "${@:4}"
