"""benchmarks/detection as far as it runs without detectron2: the converter, what is said where it is missing, results."""

import importlib.util
import json
import os
import pickle
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
import torchvision

from benchmarks.detection import train_net
from selfsup.errors import ConfigError, DataError, SelfSupError
from selfsup.evaluation.results.record import write_result

from .test_detectron2_configs import Node

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'benchmarks' / 'detection'
GOLDEN = ROOT / 'tests' / 'golden'
FILES = sorted(str(p.relative_to(FOLDER / 'configs').with_suffix('')) for p in (FOLDER / 'configs').rglob('*.yaml'))
TRAINED = [name for name in FILES if not name.startswith('Base-')]


def run(*words):
    return subprocess.run(
        [*map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
    )


@pytest.fixture(scope='module')
def resnet50():
    return torchvision.models.resnet50().state_dict()


@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.encoder_q.', 'sparse_encoder.sp_cnn.'])
def test_the_converter_understands_our_files_and_the_official_ones(resnet50, prefix, tmp_path, monkeypatch, capsys):
    from benchmarks.detection import convert_pretrain_to_detectron2 as converter

    weights = {
        f'{prefix}{name}': value
        for name, value in resnet50.items()
        if not name.startswith('fc.') or 'encoder_q' in prefix
    }
    rest = (
        {}
        if prefix in ('', 'module.encoder_q.')
        else {'mask_tokens.0' if 'sparse' in prefix else 'head.weight': torch.zeros(1)}
    )
    torch.save({'state_dict': {**weights, **rest}}, tmp_path / 'in.pth')
    monkeypatch.setattr(sys, 'argv', ['convert', str(tmp_path / 'in.pth'), str(tmp_path / 'out.pkl')])
    converter.main()
    assert capsys.readouterr().out.startswith(f'{tmp_path / "out.pkl"}: 318 tensors from {tmp_path / "in.pth"} (')
    content = pickle.loads((tmp_path / 'out.pkl').read_bytes())
    assert len(content['model']) == 318 and content['__author__'] and content['matching_heuristics'] is True


def test_the_converter_refuses_and_overwrites_nothing(tmp_path):
    script = FOLDER / 'convert_pretrain_to_detectron2.py'
    torch.save({'stages.0.0.dwconv.weight': torch.zeros(4, 1, 7, 7)}, tmp_path / 'convnext.pth')
    done = run(sys.executable, script, tmp_path / 'convnext.pth', tmp_path / 'out.pkl')
    assert done.returncode == 1 and 'detectron2 builds ResNet-18' in done.stderr and 'Traceback' not in done.stderr
    assert not (tmp_path / 'out.pkl').exists()


@pytest.mark.skipif(importlib.util.find_spec('detectron2') is not None, reason='detectron2 is installed')
def test_without_detectron2_the_error_names_the_install():
    done = run('bash', FOLDER / 'run.sh', FOLDER / 'configs' / 'coco_R_50_FPN_1x_moco.yaml', 'weights.pkl')
    assert done.returncode == 1 and done.stderr.startswith('error: this script needs detectron2')
    assert "pip install 'git+https://github.com/facebookresearch/detectron2.git'" in done.stderr
    assert run('bash', FOLDER / 'run.sh').returncode == 2


def test_weights_that_detectron2_would_not_match(tmp_path):
    plain, again = (
        train_net.parse_args(['--config-file', 'x', 'A', '1']),
        train_net.parse_args(['--config-file', 'x', '--resume']),
    )
    assert plain.opts == ['A', '1'] and again.resume
    with pytest.raises(ConfigError, match=r'train from random weights.*convert_pretrain_to_detectron2'):
        train_net.check_weights('moco.pth', plain)
    with pytest.raises(ConfigError, match='does not exist'):
        train_net.check_weights(str(tmp_path / 'none.pkl'), plain)
    (tmp_path / 'some.pkl').write_bytes(b'')
    for path, args in (
        (str(tmp_path / 'some.pkl'), plain),
        ('detectron2://x.pkl', plain),
        ('', plain),
        ('model.pth', again),
    ):
        train_net.check_weights(path, args)


@pytest.mark.parametrize(
    ('text', 'words', 'message'),
    [
        (None, [], r'missing\.yaml is not a file'),
        ('{}', ['MODEL.WEIGHTS', 'moco.pth'], r'train from random weights'),
        ('SOLVER: {OPTIMISER: adamw}', [], r'c\.yaml with no options: .*Non-existent config key: OPTIMISER'),
        ('SOLVER: {OPTIMIZER: adamv}', [], r"SOLVER\.OPTIMIZER='adamv'.*Did you mean"),
        ('SOLVER: {LR_DECAY: 1.5}', [], r'SOLVER\.LR_DECAY=1\.5'),
        ('SOLVER: {LR_DECAY: 0.6}\nMODEL: {RESNETS: {DEPTH: 152}}', [], 'DEPTH=152'),
        ('{}', ['OUTPUT_DIR', '{folder}/done'], r'done/detection\.json exists'),
        ('{}', [], None),
    ],
)
def test_mistakes_are_found_before_processes_are_started(tmp_path, monkeypatch, text, words, message):
    default = Node(SOLVER=Node(), MODEL=Node(WEIGHTS='', RESNETS=Node(DEPTH=50)), OUTPUT_DIR=str(tmp_path / 'new'))
    started = []
    for name, content in (
        ('detectron2', {}),
        ('detectron2.config', {'get_cfg': lambda: default}),
        ('detectron2.engine', {'launch': lambda *given, **more: started.append(given)}),
    ):
        module = types.ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    (tmp_path / 'done').mkdir()
    (tmp_path / 'done' / 'detection.json').write_text('{}')
    if text is not None:
        (tmp_path / 'c.yaml').write_text(text)
    path = tmp_path / ('missing.yaml' if text is None else 'c.yaml')
    words = [word.format(folder=tmp_path) for word in words]
    monkeypatch.setattr(sys, 'argv', ['train_net', '--config-file', str(path), '--num-gpus', '8', *words])
    if message is None:
        train_net.main()
        assert started[0][:2] == (train_net.work, 8) and (default.SOLVER.OPTIMIZER, default.SOLVER.LR_DECAY) == (
            'sgd',
            1.0,
        )
        return
    with pytest.raises(SelfSupError, match=message):
        train_net.main()
    assert not started


def test_results_are_flat_and_what_is_no_number_is_null(tmp_path):
    nested = {'bbox': {'AP': 38.5, 'AP50': 59.0, 'APs': float('nan')}, 'segm': {'AP': 35.1}, 'keypoints': {'AP': 64.0}}
    assert train_net.flat_numbers(nested) == {
        'AP': 38.5,
        'AP50': 59.0,
        'APs': None,
        'mask_AP': 35.1,
        'keypoint_AP': 64.0,
    }
    assert train_net.flat_numbers({'first': {'bbox': {'AP': 1.0}}, 'second': {'bbox': {'AP': 2.0}}}) == {
        'first_AP': 1.0,
        'second_AP': 2.0,
    }
    untrained = train_net.flat_numbers({'bbox': {'AP': float('nan')}})
    assert untrained == train_net.flat_numbers({}) == {'AP': None}
    write_result(tmp_path / 'detection.json', protocol='detection', numbers=untrained)
    assert json.loads((tmp_path / 'detection.json').read_text())['numbers'] == {'AP': None}
    with pytest.raises(DataError, match="The result 'AP' is nan"):  # not by accident
        write_result(tmp_path / 'other.json', protocol='detection', numbers={'AP': float('nan')})


def evaluation(box, mask=None, small=1.0):
    found = {'bbox': {'AP': box, 'AP50': box + 20, 'AP75': box + 1, 'APs': small, 'APm': 2.0, 'APl': 3.0}}
    return found if mask is None else {**found, 'segm': {'AP': mask, 'AP50': mask + 10, 'AP75': mask + 2}}


def test_the_record_of_a_coco_run_keeps_the_best_and_the_last():
    first = train_net.coco_log(evaluation(30.0, 25.0), {})
    assert first == {
        'boxAP': 30.0,
        'bAP50': 50.0,
        'bAP75': 31.0,
        'mskAP': 25.0,
        'mAP50': 35.0,
        'mAP75': 27.0,
        'easy': 3.0,
        'hard': 1.0,
        'last_boxAP': 30.0,
        'last_mskAP': 25.0,
    }
    worse = train_net.coco_log(evaluation(29.0, 26.0), first)
    assert worse == {**first, 'last_boxAP': 29.0, 'last_mskAP': 26.0}
    nothing = train_net.coco_log(evaluation(float('nan')), worse)
    assert nothing == {**first, 'last_boxAP': None, 'last_mskAP': None}
    best = train_net.coco_log(evaluation(31.0, 20.0), nothing)
    assert (best['boxAP'], best['mskAP'], best['last_boxAP']) == (31.0, 20.0, 31.0)
    assert set(train_net.coco_log({}, {}).values()) == {None}


@pytest.fixture
def detectron2(monkeypatch, tmp_path):
    """As much of detectron2 as `work` uses: a trainer that evaluates `evaluations` in turn, and what it was given."""
    cfg = Node(OUTPUT_DIR=str(tmp_path / 'out'), DATASETS=Node(TEST=('coco_val',)), MODEL=Node(WEIGHTS=''), SEED=3)
    given = types.SimpleNamespace(cfg=cfg, evaluations=[], kind='coco')

    class DefaultTrainer:
        def __init__(self, cfg):
            self.cfg = cfg

        def resume_or_load(self, resume):
            pass

        def train(self):
            for _ in range(len(given.evaluations)):
                self._last_eval_results = self.test(self.cfg, None)

        @classmethod
        def test(cls, cfg, model, evaluators=None):
            return given.evaluations.pop(0)

    catalog = types.SimpleNamespace(get=lambda name: types.SimpleNamespace(evaluator_type=given.kind))
    modules = {
        '': {},
        '.checkpoint': {'DetectionCheckpointer': None},
        '.data': {'MetadataCatalog': catalog},
        '.engine': {'DefaultTrainer': DefaultTrainer},
        '.utils': {'comm': types.SimpleNamespace(is_main_process=lambda: True)},
    }
    for name, content in modules.items():
        module = types.ModuleType(f'detectron2{name}')
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, f'detectron2{name}', module)
    monkeypatch.setitem(sys.modules, 'benchmarks.detection.extra_norm_head', types.ModuleType('extra_norm_head'))
    monkeypatch.setattr(train_net, 'setup', lambda args: cfg)
    return given


def test_a_run_writes_its_result_and_its_record(detectron2, tmp_path):
    (tmp_path / 'c.yaml').write_text('{}')
    out, words = tmp_path / 'out', ['--config-file', str(tmp_path / 'c.yaml')]
    detectron2.evaluations = [evaluation(30.0, 25.0), evaluation(20.0, 15.0)]
    train_net.work(train_net.parse_args(words))
    record = json.loads((out / 'd2_coco_log.txt').read_text())
    assert (record['boxAP'], record['last_boxAP'], record['last_mskAP']) == (30.0, 20.0, 15.0)
    assert json.loads((out / 'detection.json').read_text())['numbers']['AP'] == 20.0
    detectron2.evaluations = [evaluation(float('nan'))]
    train_net.work(train_net.parse_args([*words, '--resume']))  # the best of the first start counts on
    assert json.loads((out / 'd2_coco_log.txt').read_text()) == {**record, 'last_boxAP': None, 'last_mskAP': None}
    assert json.loads((out / 'detection.json').read_text())['numbers']['AP'] is None
    (out / 'd2_coco_log.txt').write_text('[1]')
    with pytest.raises(DataError, match=r'd2_coco_log\.txt holds list, no record of a run'):
        train_net.read_log(detectron2.cfg)
    (out / 'd2_coco_log.txt').write_text('{')
    with pytest.raises(DataError, match=r'd2_coco_log\.txt cannot be read'):
        train_net.read_log(detectron2.cfg)


def test_a_run_on_voc_or_without_an_evaluation_has_no_coco_record(detectron2, tmp_path):
    (tmp_path / 'c.yaml').write_text('{}')
    detectron2.kind, detectron2.evaluations = 'pascal_voc', [evaluation(50.0)]
    train_net.work(train_net.parse_args(['--config-file', str(tmp_path / 'c.yaml')]))
    assert [p.name for p in (tmp_path / 'out').iterdir()] == ['detection.json']
    (tmp_path / 'out' / 'detection.json').unlink()
    train_net.work(train_net.parse_args(['--config-file', str(tmp_path / 'c.yaml')]))  # no evaluation took place
    assert json.loads((tmp_path / 'out' / 'detection.json').read_text())['numbers'] == {'AP': None}


def test_the_documented_name_of_the_converter(resnet50, tmp_path):
    torch.save({'state_dict': resnet50}, tmp_path / 'in.pth')
    done = run(sys.executable, FOLDER / 'convert-pretrain-to-detectron2.py', tmp_path / 'in.pth', tmp_path / 'out.pkl')
    assert done.returncode == 0 and ': 318 tensors from' in done.stdout, done.stderr
