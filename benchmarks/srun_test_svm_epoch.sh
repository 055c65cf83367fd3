#!/usr/bin/env bash
# VOC2007 linear SVMs, full and low-shot, of WORK_DIR/epoch_EPOCH.pth. FEAT_LIST: layers, for example "feat4 feat5". NGPUS: default 8.
# FORCE=1 replaces results that exist; other settings: benchmarks/common.sh.
usage='usage: bash benchmarks/srun_test_svm_epoch.sh PARTITION CONFIG EPOCH FEAT_LIST [NGPUS]'
source "$(dirname "$0")/common.sh"
need 4 5 "$@"
svm "$1" "${5:-8}" "$4" "$2" --epoch "$3"
