# Sourced by the launchers. launch_torchrun NPROC SCRIPT [ARGS]; launch_srun PARTITION JOBNAME NTASKS SCRIPT [ARGS]

PYTHON=${PYTHON:-python}

launch_torchrun() {
    local nproc=$1
    shift
    case $nproc in '' | *[!0-9]* | 0) echo "NGPUS='$nproc' is not a positive number" >&2; exit 2 ;; esac
    case ${PORT:-1} in *[!0-9]*) echo "PORT='$PORT' is not a number" >&2; exit 2 ;; esac
    local nodes=${NNODES:-1}
    local where=(--nnodes="$nodes" --nproc_per_node="$nproc")
    if [ "$nodes" -gt 1 ]; then
        where+=(--node_rank="${NODE_RANK:?set NODE_RANK to 0 .. NNODES-1}" --master_addr="${MASTER_ADDR:?set MASTER_ADDR to the first machine}"
            --master_port="${PORT:-29500}")
    elif [ -n "${PORT:-}" ]; then
        where+=(--master_addr=127.0.0.1 --master_port="$PORT")
    else
        where+=(--standalone)
    fi
    exec "$PYTHON" "$(dirname "${BASH_SOURCE[0]}")/torchrun.py" "${where[@]}" "$@"
}

launch_srun() {
    local partition=$1 job=$2 tasks=$3
    shift 3
    case $tasks in '' | *[!0-9]* | 0) echo "NGPUS='$tasks' is not a positive number" >&2; exit 2 ;; esac
    local per_node=${GPUS_PER_NODE:-8}
    [ "$tasks" -lt "$per_node" ] && per_node=$tasks
    local gres=()
    # a cluster (or partition) without GPUs knows no such resource: GRES= turns the request off, GRES=gpu:a100:8 refines it
    local wanted=${GRES-gpu:$per_node}
    [ -n "$wanted" ] && gres=(--gres="$wanted")
    # shellcheck disable=SC2086  # SRUN_ARGS holds several words
    exec srun -p "$partition" --job-name="$job" "${gres[@]}" --ntasks="$tasks" --ntasks-per-node="$per_node" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} "$PYTHON" -u "$@"
}
