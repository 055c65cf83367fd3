# Sourced by the SVM launchers. From the environment: FORCE, LABELS, DATASET_CONFIG, SVM_ARGS and LOW_SHOT_ARGS (arguments of
# benchmarks/svm.py for both protocols, for the low-shot one).

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
ROOT=$(cd "$BENCHMARKS/.." && pwd)
DATASET_CONFIG=${DATASET_CONFIG:-$ROOT/benchmarks/extract_info/voc07.py}

# svm_of_pretrain PARTITION CONFIG PRETRAIN FEAT_LIST [NGPUS]
svm_of_pretrain() {
    local work_dir
    check_words "$2" "$4"
    [ "$3" = random ] || need_file 'the weights' "$3"
    work_dir=$(work_dir_of "$2" "$3") || exit
    test_svm "$1" "$2" --pretrained "$3" "$work_dir" "${@:4}"
}

# svm_of_epoch PARTITION CONFIG EPOCH FEAT_LIST [NGPUS]
svm_of_epoch() {
    local work_dir
    check_words "$2" "$4"
    work_dir=$(work_dir_of "$2") || exit
    [ -f "$work_dir/epoch_$3.pth" ] || {
        echo "error: there is no $work_dir/epoch_$3.pth: this is where tools/train.py writes what it trains from $2. Trained elsewhere? Give" \
            "the checkpoint to benchmarks/dist_test_svm_pretrain.sh" >&2
        exit 2
    }
    test_svm "$1" "$2" --checkpoint "$work_dir/epoch_$3.pth" "$work_dir" "${@:4}"
}

# check_words CONFIG FEAT_LIST: an empty FEAT_LIST is feat5, as in the original scripts
check_words() {
    if [[ ! $2 =~ ^\ *(feat[1-5](\ +feat[1-5])*\ *)?$ ]]; then
        echo "error: FEAT_LIST '$2': give layers, feat1 to feat5, with spaces between" >&2
        exit 2
    fi
    need_file 'the config' "$1"
}

# test_svm PARTITION CONFIG --pretrained|--checkpoint WEIGHTS WORK_DIR FEAT_LIST [NGPUS]
# Extracts features, then full and low-shot SVMs. Before hours of extraction: are the outputs free, do the labels fit?
test_svm() {
    local config=$2 weights=$4 work_dir=$5 features
    read -ra features <<< "$6"
    [ ${#features[@]} -gt 0 ] || features=(feat5)
    both_protocols --check
    launch_on "$1" extract "${7:-8}" "$ROOT/tools/extract.py" "$config" --work_dir "$work_dir" "$3" "$weights" --dataset-config "$DATASET_CONFIG" \
        ${FORCE:+--force}
    [ "${NODE_RANK:-0}" != 0 ] || both_protocols
}

both_protocols() {
    local options=(--features "${features[@]}" --config "$config" --labels "${LABELS:-data/VOCdevkit/VOC2007/SVMLabels}")
    [ "$weights" = random ] || options+=(--weights "$weights")
    [ -z "${FORCE:-}" ] || options+=(--force)
    # shellcheck disable=SC2086  # SVM_ARGS and LOW_SHOT_ARGS hold several words
    svm "${options[@]}" ${SVM_ARGS:-} "$@"
    # shellcheck disable=SC2086
    svm "${options[@]}" ${SVM_ARGS:-} --low-shot "$@" ${LOW_SHOT_ARGS:-}
}

svm() {
    PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH} "$PYTHON" "$ROOT/benchmarks/svm.py" "$work_dir" "$@"
}
