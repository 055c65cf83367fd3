#!/usr/bin/env bash
# PRETRAIN: weights that --pretrained takes, or 'random'. Work dir: that of tools/train.py + name of PRETRAIN.
# Environment: GPUS (8), and what tools/srun_train.sh reads. Writes linear.json: top-1 and top-5 of each head, last and best epoch.
usage='usage: bash benchmarks/srun_train_linear.sh PARTITION CONFIG PRETRAIN [arguments of tools/train.py]'
source "$(dirname "$0")/common.sh"
need 3 999 "$@"
train linear "$1" "${GPUS:-8}" "${@:2}"
