#!/usr/bin/env bash
# Features by several processes under Slurm. Environment: what tools/srun_train.sh reads.
usage='usage: bash tools/srun_extract.sh PARTITION CONFIG NGPUS WORK_DIR [arguments of tools/extract.py]'
source "$(dirname "$0")/launch.sh"
need 4 999 "$@"
launch_srun "$1" selfsup-extract "$3" "$(dirname "$0")/extract.py" "$2" --work_dir "$4" --launcher slurm "${@:5}"
