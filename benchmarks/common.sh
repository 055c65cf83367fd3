# Sourced by the protocol scripts of this folder.

BENCHMARKS=$(dirname "${BASH_SOURCE[0]}")
source "$BENCHMARKS/../tools/launch.sh"

# work_dir_of CONFIG [WEIGHTS]: where tools/train.py would write, then the name of the weights' file
work_dir_of() {
    PYTHONPATH=$BENCHMARKS/..${PYTHONPATH:+:$PYTHONPATH} "$PYTHON" "$BENCHMARKS/work_dir.py" "$@"
}

# need_file WHAT PATH: leave with status 2 where there is no such file
need_file() {
    [ -f "$2" ] || { echo "error: $1 '$2' is not a file" >&2; exit 2; }
}

# launch_on PARTITION NAME NGPUS SCRIPT [arguments]: PARTITION '' is this machine, else Slurm.
launch_on() {
    (  # the launchers end in exec
        if [ -n "$1" ]; then
            launch_srun "$1" "selfsup-$2" "$3" "${@:4}" --launcher slurm
        else
            launch_torchrun "${@:3}" --launcher pytorch
        fi
    )
}

# train_from_weights NAME PARTITION NGPUS CONFIG WEIGHTS [arguments of tools/train.py]
# Trains from WEIGHTS ('random': none). Leaves `work_dir`, and in `again` --force where NAME.json in it may be replaced.
train_from_weights() {
    local name=$1 partition=$2 gpus=$3 config=$4 weights=$5 word
    shift 5
    need_file 'the config' "$config"
    [ "$weights" = random ] || need_file 'the weights' "$weights"
    again=()
    work_dir=$(work_dir_of "$config" "$weights") || exit
    for word in "$@"; do
        case $word in
            --work_dir*) echo "error: the work dir follows from config and weights: $work_dir; leave out --work_dir" >&2; exit 2 ;;
            --pretrained*) echo "error: the weights are the argument after the config; leave out --pretrained" >&2; exit 2 ;;
            --start_over | --auto_resume | --resume_from*) again=(--force) ;;
        esac
    done
    if [ -e "$work_dir/$name.json" ] && [ ${#again[@]} -eq 0 ]; then
        echo "error: $work_dir/$name.json exists; give --start_over to train anew and replace it" >&2
        exit 2
    fi
    local start=("$BENCHMARKS/../tools/train.py" "$config" --work_dir "$work_dir")
    [ "$weights" = random ] || start+=(--pretrained "$weights")
    launch_on "$partition" "$name" "$gpus" "${start[@]}" "$@"
}

# train_protocol NAME PARTITION NGPUS CONFIG WEIGHTS [arguments of tools/train.py]
# Trains, see train_from_weights, then writes NAME.json into the work dir. A config that measures no accuracy is refused at once.
train_protocol() {
    local name=$1 config=$4 weights=$5 work_dir again
    SECONDS=0
    train_from_weights "$@" --must_validate --protocol "$name"
    [ "${NODE_RANK:-0}" != 0 ] || "$PYTHON" "$BENCHMARKS/collect_training.py" "$work_dir" --protocol "$name" --config "$config" \
        --weights "$weights" --seconds "$SECONDS" "${again[@]}"
}

# train_detector PARTITION NGPUS CONFIG WEIGHTS [arguments of tools/train.py]
# Trains, see train_from_weights, then evaluates on data.val with all processes: detection.json, and a picture, detections.png.
train_detector() {
    local partition=$1 gpus=$2 config=$3 weights=$4 work_dir again
    SECONDS=0
    train_from_weights detection "$@"
    # the merged config beside the checkpoint: what was trained, with all options
    launch_on "$partition" detection "$gpus" "$BENCHMARKS/test_det.py" "$work_dir/$(basename "$config")" "$work_dir/latest.pth" \
        --config_of_run "$config" --pretrained "$weights" --seconds "$SECONDS" --show 12 "${again[@]}"
}
