#!/usr/bin/env bash
# Accuracy of a classifier by several processes under Slurm. Environment: what tools/srun_train.sh reads.
usage='usage: bash tools/srun_test.sh PARTITION CONFIG NGPUS CHECKPOINT [arguments of tools/test.py]'
source "$(dirname "$0")/launch.sh"
need 4 999 "$@"
launch_srun "$1" selfsup-test "$3" "$(dirname "$0")/test.py" "$2" "$4" --launcher slurm "${@:5}"
