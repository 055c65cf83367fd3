#!/usr/bin/env bash
# bash tools/srun_extract.sh PARTITION CONFIG NGPUS WORK_DIR [arguments of tools/extract.py]
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "usage: bash tools/srun_extract.sh PARTITION CONFIG NGPUS WORK_DIR [arguments of tools/extract.py]" >&2
    exit 2
fi
source "$(dirname "$0")/launch.sh"
launch_srun "$1" selfsup-extract "$3" "$(dirname "$0")/extract.py" "$2" --work_dir "$4" --launcher slurm "${@:5}"
