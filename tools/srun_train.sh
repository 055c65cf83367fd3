#!/usr/bin/env bash
# Environment: GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS (more srun arguments), GRES (gpu:GPUS_PER_NODE; empty: none), PORT, PYTHON.
usage='usage: bash tools/srun_train.sh PARTITION CONFIG NGPUS [arguments of tools/train.py]'
source "$(dirname "$0")/launch.sh"
need 3 999 "$@"
launch_srun "$1" selfsup "$3" "$(dirname "$0")/train.py" "$2" --launcher slurm "${@:4}"
