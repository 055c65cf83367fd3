#!/usr/bin/env bash
# bash benchmarks/srun_train_det.sh PARTITION CONFIG WEIGHTS [GPUS=8] [arguments of tools/train.py]
# As benchmarks/dist_train_det.sh, under Slurm. Environment: what tools/srun_train.sh reads.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: bash benchmarks/srun_train_det.sh PARTITION CONFIG WEIGHTS [GPUS=8] [arguments of tools/train.py]" >&2
    exit 2
fi
source "$(dirname "$0")/common.sh"
train_detector "$1" "${4:-8}" "$2" "$3" "${@:5}"
