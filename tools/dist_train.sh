#!/usr/bin/env bash
# One process per GPU (or per CPU process without a GPU), on this machine or, with NNODES, NODE_RANK and MASTER_ADDR, on several.
# MAX_RESTARTS=3: after a failure all processes start anew, from the newest checkpoint, at most so often.
# PORT: set it when several jobs share a machine and you want it fixed; by default a free one is taken on one machine.
usage='usage: bash tools/dist_train.sh CONFIG NGPUS [arguments of tools/train.py]'
source "$(dirname "$0")/launch.sh"
need 2 999 "$@"
launch_torchrun "$2" "$(dirname "$0")/train.py" "$1" --launcher pytorch "${@:3}"
