#!/usr/bin/env bash
# Train as a batch job that survives preemption and time limits: it saves its state, is requeued and goes on by itself. Prints its number.
# Environment: SBATCH_ARGS (more sbatch arguments, such as --time=24:00:00), MAX_REQUEUES (100), and what tools/srun_train.sh reads.
usage='usage: bash tools/sbatch_train.sh PARTITION CONFIG NGPUS [arguments of tools/train.py]'
here=$(cd "$(dirname "$0")" && pwd)
source "$here/launch.sh"

# in_job PARTITION CONFIG NGPUS [ARGS]: on the first node. Training hears of everything itself: Slurm signals the tasks of a step, not this shell
in_job() {
    local status=0
    trap 'true' TERM  # a preemption ends with SIGTERM to all: wait for what training says of it
    (launch_srun "$1" selfsup "$3" "$here/train.py" "$2" --launcher slurm "${@:4}") || status=$?
    # 75: the state is saved; 138: SIGUSR1 came before training listened for it
    if [ "$status" != 75 ] && [ "$status" != 138 ]; then exit "$status"; fi
    local state left
    read -r state left <<<"$(squeue --noheader --jobs="$SLURM_JOB_ID" --format='%T %L')"
    if [ "$state" != RUNNING ]; then exit "$status"; fi  # cancelled, so COMPLETING by now: requeued it would come back
    if [ "$status" = 138 ] && [[ $left =~ ^[0-2]:[0-9]{2}$ ]]; then
        echo "error: the time of job $SLURM_JOB_ID is nearly over before training begins: give it a longer --time (SBATCH_ARGS)" >&2
        exit "$status"
    fi
    # starts that all end before their first step would be for ever
    if [ "${SLURM_RESTART_COUNT:-0}" -ge "${MAX_REQUEUES:-100}" ]; then
        echo "error: job $SLURM_JOB_ID was requeued $SLURM_RESTART_COUNT times: submit it again, or set MAX_REQUEUES to more" >&2
        exit "$status"
    fi
    echo "job $SLURM_JOB_ID is requeued and goes on by itself (status $status)"
    scontrol requeue "$SLURM_JOB_ID" && sleep 60  # ended by the requeue
    exit "$status"
}

if [ "${1:-}" = --in-job ]; then in_job "${@:2}"; fi
need 3 999 "$@"
whole MAX_REQUEUES "${MAX_REQUEUES:-100}" 0 999999
resources "$3"
start=(--auto_resume)
for word in "$@"; do case $word in --auto_resume | --start_over | --resume_from | --resume_from=*) start=() ;; esac; done
# sh reads the wrapped command, which knows no $'...' of bash's printf %q: a newline, or an umlaut in the C locale
words=(bash "$here/sbatch_train.sh" --in-job "$@" "${start[@]}")
quoted=$(printf "'%s' " "${words[@]//\'/\'\\\'\'}")
# --signal without B: reaches the tasks at once; B: would reach this shell alone, which would have to hand it on
# shellcheck disable=SC2086  # SBATCH_ARGS holds several words
exec sbatch --parsable -p "$1" --job-name=selfsup "${resources[@]}" --requeue --open-mode=append --signal=USR1@120 ${SBATCH_ARGS:-} \
    --wrap="exec $quoted"
