#!/usr/bin/env bash
# bash benchmarks/dist_train_linear.sh CONFIG PRETRAIN [arguments of tools/train.py]
# PRETRAIN: weights that --pretrained takes, or 'random'. Work dir: that of tools/train.py + name of PRETRAIN.
# Environment: GPUS (8), and what tools/dist_train.sh reads. Writes linear.json: top-1 and top-5 of each head, last and best epoch.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: bash benchmarks/dist_train_linear.sh CONFIG PRETRAIN [arguments of tools/train.py]" >&2
    exit 2
fi
source "$(dirname "$0")/common.sh"
train_protocol linear '' "${GPUS:-8}" "$@"
