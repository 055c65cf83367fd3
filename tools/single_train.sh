#!/usr/bin/env bash
# bash tools/single_train.sh CONFIG [arguments of tools/train.py]: one process, no launcher
set -euo pipefail
exec "${PYTHON:-python}" "$(dirname "$0")/train.py" "${@:?usage: bash tools/single_train.sh CONFIG [arguments of tools/train.py]}"
