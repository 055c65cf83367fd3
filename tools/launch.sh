# Sourced by the launchers. launch_torchrun NPROC SCRIPT [ARGS]; launch_srun PARTITION JOBNAME NTASKS SCRIPT [ARGS]; resources NTASKS

set -euo pipefail
PYTHON=${PYTHON:-python}

# typed COMMAND [ARGS]: the command as it was typed, after the variables that it reads, in one line for a shell
typed() {
    local name
    for name in NNODES NODE_RANK MASTER_ADDR PORT MAX_RESTARTS GPUS GPUS_PER_NODE CPUS_PER_TASK GRES SRUN_ARGS SBATCH_ARGS; do
        [ -z "${!name+set}" ] || printf '%s=%q ' "$name" "${!name}"
    done
    printf '%q ' "$@"
}
SELFSUP_COMMAND=${SELFSUP_COMMAND:-$(typed bash "$0" "$@")}  # for a run that says how to go on
export SELFSUP_COMMAND

# need LOWEST HIGHEST "$@": leave with the `usage` of the script where the number of its arguments is another
need() {
    if [ $(($# - 2)) -lt "$1" ] || [ $(($# - 2)) -gt "$2" ]; then
        echo "$usage" >&2
        exit 2
    fi
}

# whole NAME VALUE LOWEST HIGHEST [WHAT]: refuse what is no whole number in that range
whole() {
    if ! [[ $2 =~ ^[0-9]{1,9}$ ]]; then echo "$1='$2' is not a ${5:-number}" >&2; exit 2; fi
    if (( 10#$2 < $3 || 10#$2 > $4 )); then echo "$1='$2' is not a ${5:-number} from $3 to $4" >&2; exit 2; fi
}

# at once, so that every script answers alike; 0 would be a port of the system's choice, which no other process could know
[ -z "${PORT:-}" ] || whole PORT "$PORT" 1 65535

launch_torchrun() {
    local nproc=$1
    shift
    case $nproc in '' | *[!0-9]* | 0) echo "NGPUS='$nproc' is not a positive number" >&2; exit 2 ;; esac
    local nodes=${NNODES:-1}
    whole NNODES "$nodes" 1 99999
    local where=(--nnodes="$nodes" --nproc_per_node="$nproc")
    if [ -n "${MAX_RESTARTS:-}" ]; then
        whole MAX_RESTARTS "$MAX_RESTARTS" 0 99999
        where+=(--max_restarts="$MAX_RESTARTS")
    fi
    if [ "$nodes" -gt 1 ]; then
        whole NODE_RANK "${NODE_RANK:?set NODE_RANK to 0 .. NNODES-1}" 0 $((nodes - 1))
        where+=(--node_rank="$NODE_RANK" --master_addr="${MASTER_ADDR:?set MASTER_ADDR to the first machine}"
            --master_port="${PORT:-29500}")
    elif [ -n "${PORT:-}" ]; then
        where+=(--master_addr=127.0.0.1 --master_port="$PORT")
    else
        where+=(--standalone)
    fi
    exec "$PYTHON" "$(dirname "${BASH_SOURCE[0]}")/torchrun.py" "${where[@]}" "$@"
}

# resources NTASKS: what a job asks Slurm for, into the array of this name
resources() {
    case $1 in '' | *[!0-9]* | 0) echo "NGPUS='$1' is not a positive number" >&2; exit 2 ;; esac
    local per_node=${GPUS_PER_NODE:-8}
    whole GPUS_PER_NODE "$per_node" 1 99999
    whole CPUS_PER_TASK "${CPUS_PER_TASK:-5}" 1 99999
    [ "$1" -lt "$per_node" ] && per_node=$1
    resources=()
    # a cluster (or partition) without GPUs knows no such resource: GRES= turns the request off, GRES=gpu:a100:8 refines it
    local wanted=${GRES-gpu:$per_node}
    [ -n "$wanted" ] && resources+=(--gres="$wanted")
    resources+=(--ntasks="$1" --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}")
}

launch_srun() {
    local partition=$1 job=$2
    resources "$3"
    shift 3
    # shellcheck disable=SC2086  # SRUN_ARGS holds several words
    exec srun -p "$partition" --job-name="$job" "${resources[@]}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} "$PYTHON" -u "$@"
}
