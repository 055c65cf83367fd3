# Sourced by the SVM launchers: svm_work_dir CONFIG; svm_check, svm_extract EXTRACT_COMMAND..., svm_evaluate. They read WORK_DIR, FEATURES
# (an array), CFG, WEIGHTS (or nothing), and from the environment FORCE, LABELS, SVM_ARGS and LOW_SHOT_ARGS.

PYTHON=${PYTHON:-python}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}

svm_work_dir() { "$PYTHON" -c 'import sys; from selfsup.config.load import default_work_dir as d; print(d(sys.argv[1]))' "$1"; }

svm_run() {
    local weights=()
    [ -n "${WEIGHTS:-}" ] && weights=(--weights "$WEIGHTS")
    "$PYTHON" "$ROOT/benchmarks/svm.py" "$WORK_DIR" --features "${FEATURES[@]}" --config "$CFG" "${weights[@]}" \
        --labels "${LABELS:-data/VOCdevkit/VOC2007/SVMLabels}" ${FORCE:+--force} ${SVM_ARGS:-} "$@"
}

# before hours of extraction: are the outputs free, do the labels fit?
svm_check() {
    [ -f "$CFG" ] || { echo "error: $CFG: no such config file" >&2; exit 1; }
    [ -z "${WEIGHTS:-}" ] || [ -f "$WEIGHTS" ] || { echo "error: $WEIGHTS: no such file of weights" >&2; exit 1; }
    svm_run --check
    svm_run --low-shot --check ${LOW_SHOT_ARGS:-}
}

svm_evaluate() {
    svm_run
    svm_run --low-shot ${LOW_SHOT_ARGS:-}
}
