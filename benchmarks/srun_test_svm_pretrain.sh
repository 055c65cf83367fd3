#!/usr/bin/env bash
# bash benchmarks/srun_test_svm_pretrain.sh PARTITION CONFIG PRETRAIN FEAT_LIST [NGPUS]
# VOC2007 linear SVMs, full and low-shot; PRETRAIN: a file of weights, or random. FEAT_LIST: layers, for example "feat4 feat5". NGPUS: default 8.
# FORCE=1 replaces results that exist. LABELS, DATASET_CONFIG, SVM_ARGS, LOW_SHOT_ARGS (arguments of benchmarks/svm.py) are optional too.
set -euo pipefail
if [ $# -lt 4 ] || [ $# -gt 5 ]; then
    echo 'usage: bash benchmarks/srun_test_svm_pretrain.sh PARTITION CONFIG PRETRAIN FEAT_LIST [NGPUS]' >&2
    exit 2
fi
here=$(dirname "$0")
source "$here/eval_svm.sh"
CFG=$2
read -ra FEATURES <<< "$4"
NGPUS=${5:-8}
WORK_DIR=$(svm_work_dir "$CFG")
WEIGHTS=$3
source_args=(--pretrained "$WEIGHTS")
WORK_DIR=$WORK_DIR/$(basename "$WEIGHTS")
[ "$WEIGHTS" = random ] && WEIGHTS=
svm_check
bash "$here/../tools/srun_extract.sh" "$1" "$CFG" "$NGPUS" "$WORK_DIR" "${source_args[@]}" \
    --dataset-config "${DATASET_CONFIG:-$ROOT/benchmarks/extract_info/voc07.py}"
svm_evaluate
