#!/usr/bin/env bash
# bash tools/prepare_data/prepare_voc07_cls.sh DATA_ROOT
# Downloads VOC2007 into DATA_ROOT (900 MB; not where DATA_ROOT has it), makes labels, low-shot samples and the list of images, and
# links data/VOCdevkit. LOW_SHOT_SEED (0), LOW_SHOT_K (1,2,4,8,16,32,64,96) and LOW_SHOT_SAMPLES (5) choose the samples; FORCE=1
# replaces others.
set -euo pipefail
if [ $# -ne 1 ]; then
    echo "usage: bash tools/prepare_data/prepare_voc07_cls.sh DATA_ROOT" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
PYTHON=${PYTHON:-python}
export PYTHONPATH=$here/../..${PYTHONPATH:+:$PYTHONPATH}
mkdir -p "$1"
root=$(cd "$1" && pwd)
voc=$root/VOCdevkit/VOC2007

for part in trainval:06-Nov-2007 test:06-Nov-2007; do
    name=${part%%:*}
    [ -f "$voc/ImageSets/Main/$name.txt" ] && continue
    archive=$root/VOC${name}_${part#*:}.tar
    if [ ! -f "$archive" ]; then
        wget --output-document="$archive.part" "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/$(basename "$archive")"
        mv "$archive.part" "$archive"
    fi
    tar -xf "$archive" -C "$root"
done

"$PYTHON" "$here/create_voc_data_files.py" --data_source_dir "$voc" --output_dir "$voc/SVMLabels" --generate_json 1
"$PYTHON" "$here/create_voc_low_shot_challenge_samples.py" --targets_data_file "$voc/SVMLabels/train_targets.json" \
    --output_path "$voc/SVMLabels/low_shot/labels" --k_values "${LOW_SHOT_K:-1,2,4,8,16,32,64,96}" \
    --num_samples "${LOW_SHOT_SAMPLES:-5}" --seed "${LOW_SHOT_SEED:-0}" ${FORCE:+--force}
mkdir -p "$voc/Lists"
awk 'NF {print $1 ".jpg"}' "$voc/ImageSets/Main/trainval.txt" "$voc/ImageSets/Main/test.txt" > "$voc/Lists/trainvaltest.txt"

mkdir -p data
if [ ! -e data/VOCdevkit ]; then
    ln -s "$root/VOCdevkit" data/VOCdevkit
elif [ ! data/VOCdevkit -ef "$root/VOCdevkit" ]; then
    echo "note: data/VOCdevkit exists and is another one; it was left alone" >&2
fi
echo "$voc/Lists/trainvaltest.txt: $(wc -l < "$voc/Lists/trainvaltest.txt") images"
