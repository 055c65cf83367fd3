#!/usr/bin/env bash
# bash tools/dist_test.sh CONFIG NGPUS CHECKPOINT [arguments of tools/test.py]
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: bash tools/dist_test.sh CONFIG NGPUS CHECKPOINT [arguments of tools/test.py]" >&2
    exit 2
fi
source "$(dirname "$0")/launch.sh"
launch_torchrun "$2" "$(dirname "$0")/test.py" "$1" "$3" --launcher pytorch "${@:4}"
