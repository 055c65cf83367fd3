# Sourced by the wrappers of this folder, which say `usage` first.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$ROOT/tools/launch.sh"
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}

# launch PARTITION JOB NGPUS [arguments of tools/evaluate.py]: PARTITION '' is this machine, else Slurm
launch() {
    if [ -n "$1" ]; then
        launch_srun "$1" "selfsup-$2" "$3" "$ROOT/tools/evaluate.py" "${@:4}" --launcher slurm
    else
        launch_torchrun "$3" "$ROOT/tools/evaluate.py" "${@:4}" --launcher pytorch
    fi
}

# train PROTOCOL PARTITION NGPUS CONFIG WEIGHTS [arguments of tools/train.py]: what cannot start is said by one process, before the others
train() {
    "$PYTHON" "$ROOT/tools/evaluate.py" "$1" "${@:4}" --check
    launch "$2" "$1" "$3" "$1" "${@:4}"
}

# svm PARTITION NGPUS FEAT_LIST CONFIG [WEIGHTS] [--epoch N]: extraction by all processes, the SVMs by one, where the script was started.
# Environment: FORCE, LABELS, DATASET_CONFIG; SVM_ARGS, LOW_SHOT_ARGS: --k, --samples, --solver, --device of benchmarks/svm.py
svm() {
    # shellcheck disable=SC2206  # SVM_ARGS and LOW_SHOT_ARGS hold several words
    local words=(voc07_svm "${@:4}" --features "$3" --dataset-config "${DATASET_CONFIG:-$ROOT/benchmarks/extract_info/voc07.py}"
        ${LABELS:+--labels "$LABELS"} ${FORCE:+--force} ${SVM_ARGS:-} ${LOW_SHOT_ARGS:-})
    "$PYTHON" "$ROOT/tools/evaluate.py" "${words[@]}" --only check
    (launch "$1" extract "$2" "${words[@]}" --only features)  # a launcher ends in exec
    [ "${NODE_RANK:-0}" != 0 ] || "$PYTHON" "$ROOT/tools/evaluate.py" "${words[@]}" --only svm
}
