#!/usr/bin/env bash
# PRETRAIN: weights that --pretrained takes, or 'random'. Work dir: that of tools/train.py + name of PRETRAIN.
# Environment: GPUS (4), and what tools/srun_train.sh reads. Writes semi.json: top-1 and top-5 of each head, last and best epoch.
usage='usage: bash benchmarks/srun_train_semi.sh PARTITION CONFIG PRETRAIN [arguments of tools/train.py]'
source "$(dirname "$0")/common.sh"
need 3 999 "$@"
train semi "$1" "${GPUS:-4}" "${@:2}"
