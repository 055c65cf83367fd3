#!/usr/bin/env bash
# VOC2007 linear SVMs, full and low-shot, of WORK_DIR/epoch_EPOCH.pth. FEAT_LIST: layers, for example "feat4 feat5". NGPUS: default 8.
# FORCE=1 replaces results that exist; other settings: benchmarks/common.sh.
usage='usage: bash benchmarks/dist_test_svm_epoch.sh CONFIG EPOCH FEAT_LIST [NGPUS]'
source "$(dirname "$0")/common.sh"
need 3 4 "$@"
svm '' "${4:-8}" "$3" "$1" --epoch "$2"
