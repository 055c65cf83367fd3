#!/usr/bin/env bash
# Accuracy of a classifier by several processes on this machine.
usage='usage: bash tools/dist_test.sh CONFIG NGPUS CHECKPOINT [arguments of tools/test.py]'
source "$(dirname "$0")/launch.sh"
need 3 999 "$@"
launch_torchrun "$2" "$(dirname "$0")/test.py" "$1" "$3" --launcher pytorch "${@:4}"
