#!/usr/bin/env bash
# bash benchmarks/srun_train_det.sh PARTITION CONFIG WEIGHTS NGPUS [arguments of tools/train.py]
# As benchmarks/dist_train_det.sh, under Slurm. Environment: what tools/srun_train.sh reads.
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "usage: bash benchmarks/srun_train_det.sh PARTITION CONFIG WEIGHTS NGPUS [arguments of tools/train.py]" >&2
    exit 2
fi
source "$(dirname "$0")/common.sh"
train_detector "$1" "$4" "$2" "$3" "${@:5}"
