"""Documented commands of other code bases go through, and compile to the values of the shipped recipes."""

import shlex

import pytest

from selfsup.config import compile_config, load
from selfsup.foreign import page, translate
from selfsup.foreign.settings import changes, get
from selfsup.foreign.translation import ROOT
from tests.foreign.commands import DETECTION, DOCUMENTED, OPENSELFSUP


def compiled(translation, path):
    path.write_text(translation.config)
    return compile_config(load(path))


def without_paths(cfg):
    """A compiled config without where its images lie."""
    if isinstance(cfg, dict):
        return {k: without_paths(v) for k, v in cfg.items() if k not in ('data_source', 'work_dir')}
    return [without_paths(v) for v in cfg] if isinstance(cfg, list) else cfg


@pytest.mark.parametrize(('command', 'recipe', 'differs', 'here'), DOCUMENTED)
def test_a_documented_command_is_the_shipped_recipe(command, recipe, differs, here, tmp_path):
    out = tmp_path / 'mine.py'
    found = translate(command, out)
    assert found.recipe == recipe
    assert found.command == here.format(out)
    shipped = without_paths(compile_config(load(ROOT / recipe)))
    assert changes(shipped, without_paths(compiled(found, out))) == differs
    given = [row for row in found.rows if row.given]
    assert {row.status for row in given} <= {'taken', 'implied'}
    assert len(given) == len(
        {word.partition('=')[0] for word in shlex.split(command) if word.startswith('-')} - {'-m', '--nproc_per_node'}
    ) + ('main.sh' in command)


@pytest.mark.parametrize(('command', 'here'), DETECTION)
def test_a_command_for_detectron2(command, here):
    found = translate(command)
    assert (found.command, found.config) == (here, '')


@pytest.mark.parametrize('command', OPENSELFSUP)
def test_a_command_of_openselfsup_is_passed_on(command):
    found = translate(command)
    assert shlex.split(found.command) == shlex.split(command)
    if '.py' in ' '.join(command.split()[2:]):
        assert found.config == f'_base_ = {found.recipe!r}\n'


def test_several_lines_and_machines():
    found = translate(
        'torchrun --nproc_per_node=8 --nnodes=2 --node_rank=1 --master_addr=10.0.0.1 --master_port=29501 \\\n  main_pretrain.py'
        ' --model convnextv2_atto \\\n --epochs=800'
    )
    start = 'NNODES=2 NODE_RANK=1 MASTER_ADDR=10.0.0.1 PORT=29501 bash tools/dist_train.sh'
    assert found.command == f'{start} CONFIG.py 8 --auto_resume'
    spark = translate(
        'bash ./main.sh a --num_nodes=2 --ngpu_per_node=8 --node_rank=0 --master_address=h --master_port=1 --data_path=/d'
    )
    assert (
        spark.command
        == 'NNODES=2 NODE_RANK=0 MASTER_ADDR=h PORT=1 bash tools/dist_train.sh CONFIG.py 8 --work_dir work_dirs/a'
    )
    assert 'imgs_per_gpu=256' in spark.config


def test_main_py_is_that_of_the_code_base_whose_flags_it_has():
    spark = translate('torchrun --nproc_per_node=8 main.py --exp_name=a --exp_dir=out --model=convnext_base --bs=4096')
    assert spark.recipe == 'configs/selfsup/spark/convnext_b.py'
    assert spark.command == 'bash tools/dist_train.sh CONFIG.py 8 --work_dir out'
    tuned = translate(
        'torchrun --nproc_per_node=8 main.py --bs=2048 --model=resnet50 --lr_scale=0.7 --resume_from=a.pth'
    )
    assert tuned.recipe == 'configs/benchmarks/finetuning/imagenet/spark_r50.py'
    assert (
        tuned.command == f'bash tools/dist_train.sh {tuned.recipe} 8 --pretrained a.pth'
    )  # nothing differs: the recipe itself
    assert translate('python main.py --model SLaK_small').recipe == 'configs/classification/imagenet/slak_small.py'


def test_defaults_of_the_guide_count(tmp_path):
    found = translate('python main_pretrain.py', tmp_path / 'a.py')  # documented: 800 epochs; the recipe has 1600
    cfg = compiled(found, tmp_path / 'a.py')
    assert get(cfg, 'train_cfg.max_epochs') == 800
    row = next(row for row in found.rows if row.flag == '--epochs 800')
    assert (row.status, row.text, row.given) == ('taken', 'total_epochs = 800', False)


def test_a_name_that_the_guide_cuts_off_is_noted():
    assert translate('python main_finetune.py --model convnextv2_').notes == [
        "--model convnextv2_ was read as convnextv2_tiny: the guide's command is cut off there."
    ]


def test_the_page_has_the_tables_of_today():
    text = (ROOT / 'docs' / 'coming_from.md').read_text()
    again = 'python -c "from pathlib import Path; from selfsup.foreign import page; page.rewrite(Path(\'docs/coming_from.md\'))"'
    assert f'{page.BEGIN}\n\n{page.tables()}\n{page.END}' in text, f'make the tables anew: {again}'
