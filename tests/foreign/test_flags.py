"""A changed flag changes the value that it means; what cannot be meant is one exact line."""

import random

import pytest

from selfsup.config import compile_config, load
from selfsup.errors import UsageError
from selfsup.foreign import translate
from selfsup.foreign.programs import PROGRAMS
from selfsup.foreign.settings import get, hook, step
from selfsup.foreign.translation import ROOT

PRETRAIN, TUNE, SLAK = (
    'python main_pretrain.py',
    'python main_finetune.py --model convnextv2_tiny',
    'python main.py --sparse',
)
SPARK = 'bash main.sh name --ngpu_per_node=8'

CHANGED = (
    (f'{PRETRAIN} --batch_size 16', 'data.imgs_per_gpu', 16),
    (f'{PRETRAIN} --update_freq 4', 'optimizer_config.update_interval', 4),
    (f'{PRETRAIN} --blr 3e-4', 'optimizer.base_lr', 3e-4),
    (f'{PRETRAIN} --lr 1e-3 --blr 5', 'optimizer.lr', 1e-3),
    (f'{PRETRAIN} --lr 1e-3', 'optimizer.base_lr', None),
    (f'{PRETRAIN} --epochs 200', 'total_epochs', 200),
    (f'{PRETRAIN} --mask_ratio 0.75', 'model.mask_ratio', 0.75),
    (f'{PRETRAIN} --model convnextv2_pico', 'model.backbone.arch', 'pico'),
    (f'{TUNE} --drop_path 0.3', 'model.backbone.drop_path_rate', 0.3),
    (f'{TUNE} --layer_decay 0.8 --layer_decay_type group', 'optimizer.layer_decay', {'rate': 0.8, 'groups': 'group'}),
    (TUNE, 'optimizer.layer_decay', None),
    (f'{TUNE} --mixup 0.2', 'model.mixup.mixup_alpha', 0.2),
    (f'{TUNE} --smoothing 0.3', 'model.head.label_smoothing', 0.3),
    (f'{TUNE} --cutmix 1 --smoothing 0.3', 'model.mixup.label_smoothing', 0.3),
    (f'{TUNE} --head_init_scale 1', 'model.head.init_std', 0.02),
    (f'{TUNE} --nb_classes 10', 'model.head.num_classes', 10),
    (f'{TUNE} --clip_grad 3', 'optimizer_config.grad_clip', {'max_norm': 3.0}),
    (TUNE, 'use_fp16', False),
    (f'{SLAK} --kernel_size 31 29 27 13 5 --Decom true', 'model.backbone.kernel_size', (31, 29, 27, 13, 5)),
    (SLAK, 'model.backbone.decom', False),
    (f'{SLAK} --width_factor 1.5', 'model.head.in_channels', 1152),
    (f'{SLAK} --lr 1e-3', 'optimizer.lr', 1e-3),
    (f'{SLAK} --weight_decay_end 0.2', 'weight_decay_config', {'end': 0.2}),
    (f'{SPARK} --bs=1000', 'data.imgs_per_gpu', 125),
    (f'{SPARK} --base_lr=4e-4', 'optimizer.base_lr', 4e-4),
    (f'{SPARK} --dp=0.2', 'model.backbone.drop_path_rate', 0.2),
    (f'{SPARK} --sbn=False', 'model.sync_bn', False),
    (f'{SPARK} --wde=0', 'weight_decay_config.end', 0.04),
    (f'{SPARK} --opt=adamw --clip=3', 'optimizer_config.grad_clip', {'max_norm': 3}),
    (f'{SPARK} --model=convnext_large --input_size=384 --mask=0.75', 'model.mask_ratio', 0.75),
    ('bash downstream_imagenet/main.sh x --ngpu_per_node=8 --model=resnet50 --base_lr=1e-3', 'optimizer.base_lr', 1e-3),
    ('bash downstream_imagenet/main.sh x --ngpu_per_node=4 --model=resnet50', 'data.imgs_per_gpu', 512),
)


def written(command, path):
    path.write_text(translate(command, path).config)
    return load(path).cfg


@pytest.mark.parametrize(('command', 'setting', 'value'), CHANGED)
def test_a_flag_changes_its_setting(command, setting, value, tmp_path):
    assert get(written(command, tmp_path / 'a.py'), setting) == value


def test_flags_of_hooks_and_pipelines(tmp_path):
    cfg = written(
        f'{SLAK} -u 50 --growth gradient --sparse_init ERK --only-L --reprob 0 --aa rand-m5 --input_size 384 --data_path /d',
        tmp_path / 'a.py',
    )
    sparse = hook(cfg, 'SparseTrainingHook')
    assert (sparse['update_interval'], sparse['growth'], sparse['init']) == (50, 'gradient', 'erk')
    assert sparse['only'] == 'large_kernel.LoRA'
    train, val = cfg['data']['train'], cfg['data']['val']
    assert (step(train, 'RandomErasing'), step(train, 'TIMMAutoAugment')) == (
        None,
        {'type': 'TIMMAutoAugment', 'policy': 'rand-m5', 'size': 384},
    )
    assert (step(val, 'CenterCrop'), step(val, 'Resize')['size']) == (None, (384, 384))
    assert hook(cfg, 'EMAHook') is None  # off unless it is asked for
    assert hook(cfg, 'ValidateHook')['dataset'] == val
    assert (train['data_source']['root'], val['data_source']['root']) == ('/d/train', '/d/val')


def test_the_average_measures_only_where_it_is_asked_to(tmp_path):
    average = hook(written(f'{TUNE} --model_ema true --model_ema_decay 0.99', tmp_path / 'a.py'), 'EMAHook')
    assert average == {'type': 'EMAHook', 'momentum': 0.99, 'evaluate': False}


ERRORS = (
    ('', 'No program (*.py or *.sh) stands in the command: it is empty'),
    (
        'python main_pretrain.py --model "a',
        'The command cannot be split into words (No closing quotation): python main_pretrain.py --model "a',
    ),
    (f'{PRETRAIN} --batch_size', '--batch_size: give one value.'),
    (f'{PRETRAIN} --batch_size many', '--batch_size many: give a whole number.'),
    (f'{PRETRAIN} --batch_size 0', '--batch_size 0: it must be at least 1.'),
    (f'{PRETRAIN} --mask_ratio 1', '--mask_ratio 1: it must be at most 0.99.'),
    (f'{PRETRAIN} --blr nan', '--blr nan: it must be at least 0.'),
    (f'{PRETRAIN} --epochs 10', '--warmup_epochs 40 is longer than --epochs 10: give fewer epochs of warm-up.'),
    (f'{PRETRAIN} --input_size 200', '--input_size 200: hidden patches are 32 pixels wide, so give a multiple of 32.'),
    (f'{PRETRAIN} more', "'more' belongs to no flag: leave it out, or put it into quotes with its flag."),
    (f'{TUNE} --model_ema maybe', '--model_ema maybe: give true or false.'),
    (
        f'{TUNE} --opt sgd',
        '--opt sgd has no counterpart here: AdamW; for another one write `optimizer` into the config. Known: --opt adamw.',
    ),
    (f'{TUNE} --eval true', '--eval true measures a checkpoint: add --resume PATH.'),
    (
        f'{SLAK} --kernel_size 51 49',
        '--kernel_size 51 49: give five numbers, the long side of each stage and the short side.',
    ),
    (f'{SLAK} --kernel_size 50 49 47 13 5', '--kernel_size 50 49 47 13 5: sides must be odd.'),
    (f'{SPARK} --bs=4', '--bs 4 leaves no image to some of 8 processes: give at least 8.'),
    ('bash main.sh name', '--ngpu_per_node is missing: say how many GPUs a machine has, such as --ngpu_per_node=8.'),
    (
        'bash main.sh --bs=4',
        'main.sh wants the name of the experiment before its flags, such as: bash main.sh NAME --bs=4096',
    ),
    (
        'torchrun submitit_pretrain.py',
        'submitit_pretrain.py sends a job that starts the processes: leave the launcher out.',
    ),
    (
        'bash tools/dist_train.sh configs/selfsup/moco/r50_v2.py',
        'tools/dist_train.sh takes CONFIG GPUS, then flags; 1 words are given.',
    ),
    (
        'bash tools/dist_train.sh configs/selfsup/moco/r50_v2.py x',
        'The number of GPUs x: give a whole number of 1 or more.',
    ),
    (
        'python tools/train.py configs/selfsup/moco/r50_v2.py --gpus 8',
        '--gpus 8 has no counterpart here: one process has one GPU: tools/dist_train.sh starts several.',
    ),
)


@pytest.mark.parametrize(('command', 'message'), ERRORS)
def test_what_cannot_be_meant_is_one_line(command, message):
    with pytest.raises(UsageError) as caught:
        translate(command)
    assert str(caught.value) == message


NEAR = (
    (f'{PRETRAIN} --bach_size 64', "--bach_size is no flag of the program. Did you mean '--batch_size' or "),
    (
        f'{PRETRAIN} --model convnextv2_bas',
        "--model convnextv2_bas is no model of ConvNeXt V2. Did you mean 'convnextv2_base'",
    ),
    (f'{SLAK} --model SLaK_tinny', "--model SLaK_tinny is no model of SLaK. Did you mean 'SLaK_tiny'"),
    (f'{SPARK} --model=resnet5', "--model resnet5 is no model of SparK. Did you mean 'resnet50'"),
    (
        'torchrun --nproc_per_nod=8 main_pretrain.py',
        "--nproc_per_nod is no flag of the launcher. Did you mean 'nproc_per_node'?",
    ),
    (
        'python main_pretrian.py',
        "main_pretrian.py is no program of a code base that is known here. Did you mean 'main_pretrain.py'",
    ),
    (
        'python tools/train.py configs/selfsup/moco/r50_v3.py',
        'configs/selfsup/moco/r50_v3.py is no config of this repository. Did you mean ',
    ),
)


@pytest.mark.parametrize(('command', 'message'), NEAR)
def test_the_nearest_name_is_told(command, message):
    with pytest.raises(UsageError) as caught:
        translate(command)
    assert str(caught.value).startswith(message)
    assert '\n' not in str(caught.value)


def drawn(flag, rng):
    """A value that a flag may have, as it is typed."""
    if flag.only is not None:
        return str(rng.choice(flag.only))
    if flag.kind == 'bool':
        return rng.choice(('true', 'false'))
    low = flag.low or 0
    if flag.kind == 'int':
        return str(rng.randint(int(low), int(flag.high or low + 200)))
    high = low + 1 if flag.high is None else flag.high
    return f'{low + (high - low) * rng.uniform(0.05, 0.95):.4g}'


FIXED = (
    'input_size',
    'img_size',
    'crop_pct',
    'epochs',
    'ep',
    'warmup_epochs',
    'wp_ep',
    'bs',
    'rep_aug',
    'eval',
    'num_nodes',
    'ngpu_per_node',
)
NUMBERS = ('int', 'float', 'bool')


@pytest.mark.parametrize('program', PROGRAMS, ids=lambda p: p.title)
def test_any_valid_values_compile(program, tmp_path):
    rng = random.Random(program.title)
    flags = [
        f
        for f in program.flags
        if f.name not in FIXED and (f.kind in NUMBERS or f.only) and f.only not in ((None,), ('',))
    ]
    chosen = [f for f in rng.sample(flags, min(18, len(flags))) if f.kind != 'switch']
    words = [f'--{f.name}={drawn(f, rng)}' for f in chosen]
    script = 'main.sh name --ngpu_per_node=8' if 'main.sh' in program.scripts else program.scripts[0]
    script = f'downstream_imagenet/{script} --model=convnext_small' if 'downstream' in program.title else script
    extra = '--sparse ' if 'SLaK' in program.title else ''
    path = tmp_path / 'a.py'
    found = translate(f'python {script} {extra}{" ".join(words)}', path)
    path.write_text(found.config)
    compile_config(load(path))
    assert len(found.rows) == len(program.flags)


def test_the_tool_writes_once(tmp_path, monkeypatch, capsys):
    import runpy

    tool = runpy.run_path(str(ROOT / 'tools' / 'from_command.py'))
    out = tmp_path / 'a.py'
    monkeypatch.setattr('sys.argv', ['from_command.py', f'{PRETRAIN} --update_freq 8 --epochs 1600', '--out', str(out)])
    tool['main']()
    printed = capsys.readouterr().out
    assert (
        'taken       optimizer_config = {' in printed
        and f'command: python tools/train.py {out} --auto_resume' in printed
    )
    assert out.read_text().endswith("fcmae/base.py'\n\noptimizer_config = dict(update_interval=8)\n")
    with pytest.raises(UsageError) as caught:
        tool['main']()
    assert str(caught.value) == f'--out {out} exists: give another name, or --force to replace it'


WITHOUT_EFFECT = (
    (f'{PRETRAIN} --lr 1e-3 --blr 5', '--blr 5.0', '--lr is given, which goes first.'),
    (f'{TUNE} --mixup_prob 0.5', '--mixup_prob 0.5', 'nothing is mixed.'),
    (f'{TUNE} --model_ema_decay 0.9', '--model_ema_decay 0.9', 'there is no average without --model_ema true.'),
    (f'{TUNE} --layer_decay_type group', '--layer_decay_type group', 'all layers have one rate with --layer_decay 1.'),
    ('python main.py --sparsity 0.6', '--sparsity 0.6', 'weights are trained sparse with --sparse alone.'),
    (f'{SPARK} --clip=3', '--clip 3', 'LAMB always clips at 5.'),
)


@pytest.mark.parametrize(('command', 'flag', 'why'), WITHOUT_EFFECT)
def test_a_flag_without_effect_says_why(command, flag, why):
    row = next(row for row in translate(command).rows if row.flag == flag)
    assert (row.status, row.text, row.given) == ('not needed', why, True)
