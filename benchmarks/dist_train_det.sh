#!/usr/bin/env bash
# bash benchmarks/dist_train_det.sh CONFIG WEIGHTS [GPUS=8] [arguments of tools/train.py]
# Train a detector (configs/benchmarks/detection) from the backbone in WEIGHTS ("random": from scratch), then write its average
# precision to WORK_DIR/detection.json. One process per GPU, or per CPU process. WORK_DIR: work_dirs/ + path of the config / name of WEIGHTS.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: bash benchmarks/dist_train_det.sh CONFIG WEIGHTS [GPUS=8] [arguments of tools/train.py]" >&2
    exit 2
fi
here=$(dirname "$0")
source "$here/../tools/launch.sh"
config=$1 weights=$2 gpus=${3:-8}
name=${config%.py}
case $name in *configs/*) name=${name##*configs/} ;; *) name=$(basename "$name") ;; esac
work_dir=${WORK_DIR:-work_dirs/$name/$(basename "$weights")}
given=(--pretrained "$weights")
[ "$weights" = random ] && given=()
if [ "$weights" != random ] && [ ! -f "$weights" ]; then
    echo "error: WEIGHTS='$weights' is no file" >&2
    exit 1
fi
if [ -e "$work_dir/detection.json" ]; then
    echo "error: $work_dir/detection.json exists; set WORK_DIR to another folder or remove it" >&2
    exit 1
fi
(launch_torchrun "$gpus" "$here/../tools/train.py" "$config" --work_dir "$work_dir" ${given[@]+"${given[@]}"} --launcher pytorch "${@:4}")
# the merged config beside the checkpoint: what was trained, with all options
(launch_torchrun "$gpus" "$here/test_det.py" "$work_dir/$(basename "$config")" "$work_dir/latest.pth" --launcher pytorch --pretrained "$weights")
