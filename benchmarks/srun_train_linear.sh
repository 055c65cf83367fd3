#!/usr/bin/env bash
# bash benchmarks/srun_train_linear.sh PARTITION CONFIG PRETRAIN [arguments of tools/train.py]
# PRETRAIN: weights that --pretrained takes, or 'random'. Work dir: that of tools/train.py + name of PRETRAIN.
# Environment: GPUS (8), and what tools/srun_train.sh reads. Writes linear.json: top-1 and top-5 of each head, last and best epoch.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: bash benchmarks/srun_train_linear.sh PARTITION CONFIG PRETRAIN [arguments of tools/train.py]" >&2
    exit 2
fi
source "$(dirname "$0")/common.sh"
train_protocol linear "$1" "${GPUS:-8}" "${@:2}"
