#!/usr/bin/env bash
# bash benchmarks/srun_test_svm_pretrain.sh PARTITION CONFIG PRETRAIN FEAT_LIST [NGPUS]
# VOC2007 linear SVMs, full and low-shot. PRETRAIN: a file of weights, or random. FEAT_LIST: layers, for example "feat4 feat5". NGPUS: default 8.
# FORCE=1 replaces results that exist; other settings: benchmarks/eval_svm.sh.
set -euo pipefail
if [ $# -lt 4 ] || [ $# -gt 5 ]; then
    echo 'usage: bash benchmarks/srun_test_svm_pretrain.sh PARTITION CONFIG PRETRAIN FEAT_LIST [NGPUS]' >&2
    exit 2
fi
source "$(dirname "$0")/eval_svm.sh"
CFG=$2
read -ra FEATURES <<< "$4"
NGPUS=${5:-8}
WEIGHTS=$3
WORK_DIR=$(work_dir_of "$CFG" "$WEIGHTS")
svm_check
bash "$ROOT/tools/srun_extract.sh" "$1" "$CFG" "$NGPUS" "$WORK_DIR" --pretrained "$WEIGHTS" \
    --dataset-config "$DATASET_CONFIG"
svm_evaluate
