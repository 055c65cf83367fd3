#!/usr/bin/env bash
# bash tools/dist_extract.sh CONFIG NGPUS WORK_DIR [arguments of tools/extract.py]
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: bash tools/dist_extract.sh CONFIG NGPUS WORK_DIR [arguments of tools/extract.py]" >&2
    exit 2
fi
source "$(dirname "$0")/launch.sh"
launch_torchrun "$2" "$(dirname "$0")/extract.py" "$1" --work_dir "$3" --launcher pytorch "${@:4}"
