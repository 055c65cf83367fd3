#!/usr/bin/env bash
# bash tools/srun_test.sh PARTITION CONFIG NGPUS CHECKPOINT [arguments of tools/test.py]
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "usage: bash tools/srun_test.sh PARTITION CONFIG NGPUS CHECKPOINT [arguments of tools/test.py]" >&2
    exit 2
fi
source "$(dirname "$0")/launch.sh"
launch_srun "$1" selfsup-test "$3" "$(dirname "$0")/test.py" "$2" "$4" --launcher slurm "${@:5}"
