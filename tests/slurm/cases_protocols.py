"""The srun_ launchers that measure: each number is that of the same measurement without Slurm."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from tests.evaluation import linear_runs
from tests.shipped_configs import small
from tests.tools import voc_miniature
from tests.tools.conftest import CONFIG as CLASSIFIER
from tests.tools.test_voc_scripts import CONFIG, DATA

from .runs import ROOT, losses
from .stage import Stage

SHAPES = ROOT / 'configs' / 'benchmarks' / 'detection' / 'shapes' / 'mask_rcnn_r18_fpn.py'


def linear_semi_and_finetuning(stage: Stage) -> None:
    config = linear_runs.write_config(stage.folder)
    trained = ('--cfg-options', 'total_epochs=1', 'model.backbone.frozen_stages=-1')
    for protocol, options in (('linear', trained[:2]), ('semi', trained), ('finetune', trained)):
        stage.done(
            f'benchmarks/srun_train_{protocol}.sh', 'main', config, 'random', *options, GPUS='2', CPUS_PER_TASK='1'
        )
        work_dir = stage.folder / 'work_dirs' / 'last' / 'random'
        result = json.loads((work_dir / f'{protocol}.json').read_text())
        assert result['settings']['world_size'] == 2 and result['protocol'] == protocol
        if protocol == 'linear':  # the others differ in what they train, not in how they are started
            under_slurm = losses(work_dir)
            work_dir.rename(stage.folder / 'slurm')
            stage.done(f'benchmarks/dist_train_{protocol}.sh', config, 'random', *options, GPUS='2')
            again = json.loads((work_dir / f'{protocol}.json').read_text())
            assert again['numbers'] == result['numbers'] and losses(work_dir) == under_slurm != []
        work_dir.rename(stage.folder / protocol)


def detection(stage: Stage) -> None:
    options = ('--cfg-options', *small.options(SHAPES, stage.images))
    work_dir = stage.folder / 'work_dirs' / 'benchmarks' / 'detection' / 'shapes' / 'mask_rcnn_r18_fpn' / 'random'
    stage.done('benchmarks/srun_train_det.sh', 'main', SHAPES, 'random', 2, *options)
    under_slurm = json.loads((work_dir / 'detection.json').read_text()), losses(work_dir)
    work_dir.rename(stage.folder / 'slurm')
    stage.done('benchmarks/dist_train_det.sh', SHAPES, 'random', 2, *options)
    assert json.loads((work_dir / 'detection.json').read_text())['numbers'] == under_slurm[0]['numbers']
    assert losses(work_dir) == under_slurm[1] != []


def _voc(stage: Stage) -> Path:
    """VOC2007 in miniature, a config, and epoch_1.pth of its work dir."""
    from selfsup.registry import MODELS
    from selfsup.weights.write import write_checkpoint_atomic

    voc_miniature.write(stage.folder / 'downloads')
    low_shot = {'LOW_SHOT_K': '1', 'LOW_SHOT_SAMPLES': '2'}
    stage.done('tools/prepare_data/prepare_voc07_cls.sh', 'downloads', **low_shot)
    (stage.folder / 'configs').mkdir()
    (stage.folder / 'configs' / 'tiny.py').write_text(CONFIG)
    voc = stage.folder / 'data' / 'VOCdevkit' / 'VOC2007'
    (stage.folder / 'images.py').write_text(DATA.format(voc=voc))
    namespace: dict = {}
    exec(CONFIG, namespace)
    torch.manual_seed(3)
    model = MODELS.build(namespace['model'])
    work_dir = stage.folder / 'work_dirs' / 'tiny'
    write_checkpoint_atomic({'state_dict': model.state_dict()}, work_dir / 'epoch_1.pth')
    write_checkpoint_atomic({'state_dict': model.backbone.state_dict()}, stage.folder / 'w.pth')
    return work_dir


def svm_of_an_epoch_and_extraction(stage: Stage) -> None:
    work_dir = _voc(stage)
    settings = {'DATASET_CONFIG': 'images.py', 'SVM_ARGS': '--device cpu', 'LOW_SHOT_ARGS': '--k 1 --samples 1 2'}
    words = ('configs/tiny.py', 1, 'feat4 feat5', 2)
    stage.done('benchmarks/srun_test_svm_epoch.sh', 'main', *words, **settings)
    names = [f'svm/{feature}/test_ap.npy' for feature in ('feat4', 'feat5')]
    names += [f'svm_lowshot/{feature}/test_ap_sample2_k1.npy' for feature in ('feat4', 'feat5')]
    under_slurm = [np.load(work_dir / name) for name in names]
    stage.done('benchmarks/dist_test_svm_epoch.sh', *words, **settings, FORCE='1')
    assert all(
        np.array_equal(np.load(work_dir / name), before) for name, before in zip(names, under_slurm, strict=True)
    )
    options = ('--pretrained', 'w.pth', '--dataset-config', 'images.py')
    stage.done('tools/srun_extract.sh', 'main', 'configs/tiny.py', 2, 'two', *options)
    stage.done('tools/extract.py', 'configs/tiny.py', '--work_dir', 'one', *options)
    files = sorted((stage.folder / 'one').rglob('*.npy'))
    assert files
    for file in files:
        other = stage.folder / 'two' / file.relative_to(stage.folder / 'one')
        np.testing.assert_allclose(np.load(other), np.load(file), rtol=1e-5, atol=1e-6)  # batches of another size


def accuracy_of_a_classifier(stage: Stage) -> None:
    from selfsup.registry import MODELS
    from selfsup.weights.write import write_checkpoint_atomic

    (stage.folder / 'tiny.py').write_text(CLASSIFIER)
    namespace: dict = {}
    exec(CLASSIFIER, namespace)
    torch.manual_seed(7)
    state = MODELS.build(namespace['model']).state_dict()
    write_checkpoint_atomic({'state_dict': state, 'meta': {'epoch': 3}}, stage.folder / 'epoch_3.pth')
    settings = {'GPUS_PER_NODE': '1', 'CPUS_PER_TASK': '1'}
    two = stage.done('tools/srun_test.sh', 'main', 'tiny.py', 2, 'epoch_3.pth', **settings)
    one = stage.done('tools/test.py', 'tiny.py', 'epoch_3.pth')

    def accuracies(printed: str) -> list[str]:
        return [line for line in printed.splitlines() if 'top' in line]

    assert accuracies(two.stdout) == accuracies(one.stdout) != []
