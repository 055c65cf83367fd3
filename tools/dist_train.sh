#!/usr/bin/env bash
# bash tools/dist_train.sh CONFIG NGPUS [arguments of tools/train.py]
# One process per GPU (or per CPU process without a GPU), on this machine or, with NNODES, NODE_RANK and MASTER_ADDR, on several.
# PORT: set it when several jobs share a machine and you want it fixed; by default a free one is taken on one machine.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: bash tools/dist_train.sh CONFIG NGPUS [arguments of tools/train.py]" >&2
    exit 2
fi
source "$(dirname "$0")/launch.sh"
config=$1 gpus=$2
launch_torchrun "$gpus" "$(dirname "$0")/train.py" "$config" --launcher pytorch "${@:3}"
