# Sourced by the SVM launchers, which set WORK_DIR, FEATURES (an array), CFG and WEIGHTS (a file or `random`). From the environment:
# FORCE, LABELS, DATASET_CONFIG, SVM_ARGS and LOW_SHOT_ARGS (arguments of benchmarks/svm.py for both protocols, for the low-shot one).

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
ROOT=$(cd "$BENCHMARKS/.." && pwd)
DATASET_CONFIG=${DATASET_CONFIG:-$ROOT/benchmarks/extract_info/voc07.py}

svm_run() {
    local options=(--features "${FEATURES[@]}" --config "$CFG" --labels "${LABELS:-data/VOCdevkit/VOC2007/SVMLabels}")
    [ "$WEIGHTS" = random ] || options+=(--weights "$WEIGHTS")
    [ -z "${FORCE:-}" ] || options+=(--force)
    # shellcheck disable=SC2086  # SVM_ARGS holds several words
    PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH} "$PYTHON" "$ROOT/benchmarks/svm.py" "$WORK_DIR" "${options[@]}" ${SVM_ARGS:-} "$@"
}

# before hours of extraction: are the outputs free, do the labels fit?
svm_check() {
    need_file 'the config' "$CFG"
    [ "$WEIGHTS" = random ] || need_file 'the weights' "$WEIGHTS"
    svm_run --check
    # shellcheck disable=SC2086
    svm_run --low-shot --check ${LOW_SHOT_ARGS:-}
}

svm_evaluate() {
    svm_run
    # shellcheck disable=SC2086
    svm_run --low-shot ${LOW_SHOT_ARGS:-}
}
