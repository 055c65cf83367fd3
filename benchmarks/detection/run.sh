#!/usr/bin/env bash
# bash benchmarks/detection/run.sh CONFIG WEIGHTS [arguments of benchmarks/detection/train_net.py, KEY VALUE ...]
# CONFIG: configs/*.yaml here. WEIGHTS: what convert_pretrain_to_detectron2.py wrote. GPUS: processes (8).
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: bash benchmarks/detection/run.sh CONFIG WEIGHTS [arguments of benchmarks/detection/train_net.py, KEY VALUE ...]" >&2
    exit 2
fi
exec "${PYTHON:-python}" "$(dirname "$0")/train_net.py" --config-file "$1" --num-gpus "${GPUS:-8}" "${@:3}" MODEL.WEIGHTS "$2"
