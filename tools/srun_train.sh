#!/usr/bin/env bash
# bash tools/srun_train.sh PARTITION CONFIG NGPUS [arguments of tools/train.py]
# Environment: GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS (more srun arguments), GRES (gpu:GPUS_PER_NODE; empty: none), PORT, PYTHON.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: bash tools/srun_train.sh PARTITION CONFIG NGPUS [arguments of tools/train.py]" >&2
    exit 2
fi
source "$(dirname "$0")/launch.sh"
partition=$1 config=$2 gpus=$3
launch_srun "$partition" selfsup "$gpus" "$(dirname "$0")/train.py" "$config" --launcher slurm "${@:4}"
