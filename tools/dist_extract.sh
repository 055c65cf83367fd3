#!/usr/bin/env bash
# Features by several processes on this machine.
usage='usage: bash tools/dist_extract.sh CONFIG NGPUS WORK_DIR [arguments of tools/extract.py]'
source "$(dirname "$0")/launch.sh"
need 3 999 "$@"
launch_torchrun "$2" "$(dirname "$0")/extract.py" "$1" --work_dir "$3" --launcher pytorch "${@:4}"
