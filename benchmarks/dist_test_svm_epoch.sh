#!/usr/bin/env bash
# bash benchmarks/dist_test_svm_epoch.sh CONFIG EPOCH FEAT_LIST [NGPUS]
# VOC2007 linear SVMs, full and low-shot, of WORK_DIR/epoch_EPOCH.pth. FEAT_LIST: layers, for example "feat4 feat5". NGPUS: default 8.
# FORCE=1 replaces results that exist; other settings: benchmarks/eval_svm.sh.
set -euo pipefail
if [ $# -lt 3 ] || [ $# -gt 4 ]; then
    echo 'usage: bash benchmarks/dist_test_svm_epoch.sh CONFIG EPOCH FEAT_LIST [NGPUS]' >&2
    exit 2
fi
source "$(dirname "$0")/eval_svm.sh"
CFG=$1
read -ra FEATURES <<< "$3"
NGPUS=${4:-8}
WEIGHTS=epoch_$2.pth
WORK_DIR=$(dirname "$(work_dir_of "$CFG" "$WEIGHTS")")
WEIGHTS=$WORK_DIR/$WEIGHTS
svm_check
bash "$ROOT/tools/dist_extract.sh" "$CFG" "$NGPUS" "$WORK_DIR" --checkpoint "$WEIGHTS" \
    --dataset-config "$DATASET_CONFIG"
svm_evaluate
