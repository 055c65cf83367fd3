"""Train or evaluate a detector with detectron2: python benchmarks/detection/train_net.py --config-file CFG MODEL.WEIGHTS OUT.pkl

detectron2's usual arguments; in the config two more keys: SOLVER.OPTIMIZER (sgd, adamw; adam is adamw) and SOLVER.LR_DECAY (layer-wise
decay of the learning rate, 1.0 for none). At the end the average precisions are in OUTPUT_DIR/detection.json, null where one is
not a number; a COCO run has OUTPUT_DIR/d2_coco_log.txt after each evaluation.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # processes that detectron2 starts know only this folder

from selfsup import cli
from selfsup.errors import ConfigError, DataError
from selfsup.files import write_atomic

INSTALL = (
    'this script needs detectron2, which is not on the package index: pip install '
    "'git+https://github.com/facebookresearch/detectron2.git'. benchmarks/dist_train_det.sh trains detectors without it."
)
LOG = 'd2_coco_log.txt'
COCO_LOG = {
    'boxAP': 'AP',
    'bAP50': 'AP50',
    'bAP75': 'AP75',
    'mskAP': 'mask_AP',
    'mAP50': 'mask_AP50',
    'mAP75': 'mask_AP75',
    'easy': 'APl',
    'hard': 'APs',
}  # names in `LOG` -> ours
NAMES = {'bbox': '', 'segm': 'mask_', 'keypoints': 'keypoint_'}  # of detectron2's results -> beginnings of ours


def parse_args(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config-file', required=True, metavar='FILE')
    parser.add_argument('--resume', action='store_true', help='continue from the last checkpoint in OUTPUT_DIR')
    parser.add_argument('--eval-only', action='store_true', help='evaluate MODEL.WEIGHTS, do not train')
    parser.add_argument('--num-gpus', type=int, default=1, help='per machine')
    parser.add_argument('--num-machines', type=int, default=1)
    parser.add_argument('--machine-rank', type=int, default=0)
    parser.add_argument('--dist-url', default='auto', help='tcp://HOST:PORT of the first of several machines')
    parser.add_argument('opts', nargs=argparse.REMAINDER, help='KEY VALUE ... that override the config')
    return parser.parse_args(words)


def read_config(args: argparse.Namespace) -> Any:
    """The detectron2 config of a command line, with the two new keys.

    Raises:
        ConfigError: it cannot be read, holds an unknown key, or settings that do not fit.
        DataError: OUTPUT_DIR has a result.
    """
    from detectron2.config import get_cfg

    from benchmarks.detection.solver import lr_factor, optimizer_class
    from selfsup.evaluation.results.record import check_free

    cfg = get_cfg()
    cfg.SOLVER.OPTIMIZER, cfg.SOLVER.LR_DECAY = 'sgd', 1.0
    if not os.path.isfile(args.config_file):
        raise ConfigError(f'--config-file {args.config_file} is not a file.')
    try:
        cfg.merge_from_file(args.config_file)
        cfg.merge_from_list(args.opts)
    except (AssertionError, KeyError, ValueError) as error:  # what yacs raises
        raise ConfigError(f'{args.config_file} with {" ".join(args.opts) or "no options"}: {error}') from None
    check_weights(cfg.MODEL.WEIGHTS, args)
    if args.resume:
        read_log(cfg)
    optimizer_class(cfg.SOLVER.OPTIMIZER)
    lr_factor('', cfg.SOLVER.LR_DECAY, cfg.MODEL.RESNETS.DEPTH)
    check_free(Path(cfg.OUTPUT_DIR) / 'detection.json', force=args.resume)
    return cfg


def setup(args: argparse.Namespace) -> Any:
    """The frozen config, and detectron2's logs and seeds."""
    from detectron2.engine import default_setup

    cfg = read_config(args)
    cfg.freeze()
    default_setup(cfg, args)
    return cfg


def check_weights(path: str, args: argparse.Namespace) -> None:
    """Refuse files that detectron2 would load without matching a single weight.

    Raises:
        ConfigError: torch's own format, or no such file.
    """
    if args.resume or args.eval_only or '://' in path or not path:
        return
    if not path.endswith('.pkl'):
        raise ConfigError(
            f'MODEL.WEIGHTS={path!r}: detectron2 would find no backbone in it and train from random weights. Convert it: '
            'python benchmarks/detection/convert_pretrain_to_detectron2.py IN.pth OUT.pkl'
        )
    if not os.path.exists(path):
        raise ConfigError(f'MODEL.WEIGHTS={path!r} does not exist.')


def build_optimizer(cfg: Any, model: Any) -> Any:
    """SOLVER.OPTIMIZER over the groups of `solver.param_groups`."""
    import torch
    from detectron2.solver.build import maybe_add_gradient_clipping

    from benchmarks.detection.solver import optimizer_class, param_groups

    solver = cfg.SOLVER
    kind = optimizer_class(solver.OPTIMIZER)
    groups = param_groups(
        model,
        lr=solver.BASE_LR,
        weight_decay=solver.WEIGHT_DECAY,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
        bias_lr_factor=solver.BIAS_LR_FACTOR,
        decay=solver.LR_DECAY,
        depth=cfg.MODEL.RESNETS.DEPTH,
    )
    momentum = {'momentum': solver.MOMENTUM, 'nesterov': solver.NESTEROV} if kind is torch.optim.SGD else {}
    return maybe_add_gradient_clipping(cfg, kind)(groups, lr=solver.BASE_LR, **momentum)


def build_evaluator(cfg: Any, dataset: str) -> Any:
    """detectron2's evaluator of a registered data set.

    Raises:
        ConfigError: of a kind that has none here.
    """
    from detectron2 import evaluation
    from detectron2.data import MetadataCatalog

    kind = MetadataCatalog.get(dataset).evaluator_type
    if kind == 'coco':
        return evaluation.COCOEvaluator(dataset, output_dir=os.path.join(cfg.OUTPUT_DIR, 'inference'))
    if kind == 'pascal_voc':
        return evaluation.PascalVOCDetectionEvaluator(dataset)
    if kind == 'cityscapes_instance':
        return evaluation.CityscapesInstanceEvaluator(dataset)
    raise ConfigError(f'{dataset} is evaluated as {kind!r}; known here: coco, pascal_voc, cityscapes_instance.')


def trainer_class(resume: bool = False) -> Any:
    """`DefaultTrainer` with our optimizer and evaluators; the head of the C4 configs is registered.

    After each evaluation on COCO it writes OUTPUT_DIR/d2_coco_log.txt, see `coco_log`; with `resume` it goes on with the one there.
    """
    from detectron2.data import MetadataCatalog
    from detectron2.engine import DefaultTrainer
    from detectron2.utils import comm

    import benchmarks.detection.extra_norm_head  # noqa: F401

    class Trainer(DefaultTrainer):
        build_optimizer = staticmethod(build_optimizer)

        @classmethod
        def build_evaluator(cls, cfg: Any, dataset_name: str, output_folder: str | None = None) -> Any:
            return build_evaluator(cfg, dataset_name)

        @classmethod
        def test(cls, cfg: Any, model: Any, evaluators: Any = None) -> dict:
            results = super().test(cfg, model, evaluators)
            one_of_coco = (
                len(cfg.DATASETS.TEST) == 1 and MetadataCatalog.get(cfg.DATASETS.TEST[0]).evaluator_type == 'coco'
            )
            if comm.is_main_process() and one_of_coco:
                cls.log = coco_log(results, cls.log if cls.log or not resume else read_log(cfg))
                write_atomic(
                    Path(cfg.OUTPUT_DIR) / LOG, lambda file: file.write(f'{json.dumps(cls.log)}\n'.encode()), DataError
                )
            return results

    Trainer.log = {}  # of this run
    return Trainer


def read_log(cfg: Any) -> dict[str, float | None]:
    """What an earlier start of this run wrote into OUTPUT_DIR/d2_coco_log.txt; {} without it.

    Raises:
        DataError: it is damaged.
    """
    path = Path(cfg.OUTPUT_DIR) / LOG
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise DataError(f'{path} cannot be read ({error}); move it away to go on without it.') from None
    if not isinstance(found, dict):
        raise DataError(f'{path} holds {type(found).__name__}, no record of a run; move it away to go on without it.')
    return found


def flat_numbers(results: dict) -> dict[str, float | None]:
    """detectron2's nested results as ours: {'bbox': {'AP': 38.}, 'segm': {'AP': 35.}} -> {'AP': 38., 'mask_AP': 35.}.

    What is not a number, as the AP of a class or size that does not occur, is None, and so is `AP` where there are no results at all.
    Of several test sets each has its name in front.
    """
    flat: dict[str, float | None] = {}
    for task, values in results.items():
        if any(isinstance(value, dict) for value in values.values()):  # a test set of several
            flat.update({f'{task}_{name}': value for name, value in flat_numbers(values).items()})
            continue
        for name, value in values.items():
            flat[f'{NAMES.get(task, f"{task}_")}{name}'] = None if math.isnan(float(value)) else float(value)
    return flat or {'AP': None}


def coco_log(results: dict, before: dict[str, float | None]) -> dict[str, float | None]:
    """SparK's record of a COCO run: the best average precisions of all evaluations so far, and the last.

    Args:
        results: of this evaluation, as detectron2 nests them.
        before: what this function gave before; {} at first.

    Returns:
        boxAP, bAP50, bAP75, mskAP, mAP50, mAP75: of the evaluation with the best boxAP; easy, hard: its box AP of large and of small
        objects; last_boxAP, last_mskAP: of this one. None where one is not a number, or there are no masks.
    """
    now = flat_numbers({task: results.get(task, {}) for task in ('bbox', 'segm')})
    found = {name: now.get(ours) for name, ours in COCO_LOG.items()}
    if before.get('boxAP') is not None and (found['boxAP'] is None or found['boxAP'] <= before['boxAP']):
        found = {name: before.get(name) for name in COCO_LOG}
    return {**found, 'last_boxAP': now.get('AP'), 'last_mskAP': now.get('mask_AP')}


def work(args: argparse.Namespace) -> None:
    """What each process does."""
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.utils import comm

    from selfsup.evaluation.results.record import write_result

    start = time.perf_counter()
    cfg = setup(args)
    kind = trainer_class(args.resume)
    if args.eval_only:
        model = kind.build_model(cfg)
        DetectionCheckpointer(model, save_dir=cfg.OUTPUT_DIR).resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
        results = kind.test(cfg, model)
    else:
        trainer = kind(cfg)
        trainer.resume_or_load(resume=args.resume)
        trainer.train()
        # train() gives them only where the config names results that it expects.
        results = getattr(trainer, '_last_eval_results', None)
    if comm.is_main_process():
        weights = cfg.MODEL.WEIGHTS if os.path.exists(cfg.MODEL.WEIGHTS) else None
        write_result(
            Path(cfg.OUTPUT_DIR) / 'detection.json',
            protocol='detection',
            numbers=flat_numbers(results or {}),
            config=args.config_file,
            weights=weights,
            device='cuda',
            seed=cfg.SEED,
            seconds=time.perf_counter() - start,
            settings={'library': 'detectron2', 'opts': args.opts},
            force=args.resume,
        )


def main() -> None:
    args = parse_args()
    try:
        from detectron2.engine import launch
    except ImportError:
        raise ConfigError(INSTALL) from None
    # Here an error is one line; in the processes that `launch` starts it would be a traceback of each.
    read_config(args)
    launch(
        work,
        args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(args,),
    )


if __name__ == '__main__':
    cli.run(main)
