#!/usr/bin/env bash
# PRETRAIN: weights that --pretrained takes, or 'random'. Work dir: that of tools/train.py + name of PRETRAIN.
# Environment: GPUS (8), and what tools/dist_train.sh reads. Writes linear.json: top-1 and top-5 of each head, last and best epoch.
usage='usage: bash benchmarks/dist_train_linear.sh CONFIG PRETRAIN [arguments of tools/train.py]'
source "$(dirname "$0")/common.sh"
need 2 999 "$@"
train linear '' "${GPUS:-8}" "$@"
