"""THE key table: every key of both spellings, with kind, default, example and meaning. Data only.

The checker, `docs/configs.md` and the did-you-mean lists all read this table, so they cannot disagree.

Kinds are hints, as those of arguments (`selfsup.arguments`). `*` in a path stands for any key or list index.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Literal, get_type_hints

from ..arguments import Count, NotNegative, Positive, ShareBelowOne, Whole
from ..optim.options import Freeze, LayerDecay, Momentum, ParamwiseOptions
from ..optim.schedules import POLICY_ARGS, Schedule
from .backend import Backend
from .table.key import REQUIRED, Key, Section
from .table.spread import SPREAD

LR = get_type_hints(Schedule, include_extras=True)
PARAMWISE = get_type_hints(ParamwiseOptions, include_extras=True)
WORKERS = Whole | Literal['auto']
DECAY = get_type_hints(LayerDecay, include_extras=True)
FREEZE = get_type_hints(Freeze, include_extras=True)


# fmt: off
MODEL = Section('Model', both=(
    Key('model', dict, REQUIRED, "dict(type='MOCO', backbone=dict(type='ResNet', depth=50), ...)",
        'The algorithm and its parts.', 'MODELS'),
    Key('model.pretrained', str | None, 'None', "'pretrains/moco_r50_v2.pth'", 'Weights to load into the backbone before training.'),
    Key('pretrained', str | None, 'None', "'pretrains/moco_r50_v2.pth'", 'The same, outside `model`. Write one of the two.'),
))

LOADING = (
    Key('pin_memory', bool, 'True on CUDA', 'True', 'Copy batches through page-locked memory.'),
    Key('persistent_workers', bool, 'True with workers', 'True', 'Keep the workers between epochs.'),
    Key('prefetch_factor', Count, '2', '4', 'Batches that each worker prepares ahead.'),
    Key('max_unreadable', ShareBelowOne, '0.01', '0.05', 'Share of the images that may be unreadable before the run stops and lists them. '
        'Those that are, are skipped and named.'),
)
CACHE = (
    Key('cache.size', Count, REQUIRED, '256', 'Pixels of the shortest side; smaller images stay as they are.'),
    Key('cache.where', str, "'memory'", "'/scratch/cache'", "'memory', or a folder, in which the cache outlasts the run."),
)
PREFETCH = (
    Key('prefetch.augment_on_device', bool, 'False', 'True', 'The workers decode and crop; the device does the other steps, for whole '
        'batches. The draws, and so the views, stay the same up to rounding.'),
    Key('prefetch.images_on_device', bool, 'False', 'True', 'All images, of one size, are read once and stay on the device, which makes '
        'the views of them; for small sets. Needs `augment_on_device`.'),
)
NORM = (
    Key('img_norm_cfg.mean', list[float], REQUIRED, '[0.485, 0.456, 0.406]', 'Mean per channel.'),
    Key('img_norm_cfg.std', list[float], REQUIRED, '[0.229, 0.224, 0.225]', 'Standard deviation per channel.'),
)


def _below(prefix: str, rows: tuple[Key, ...]) -> tuple[Key, ...]:
    """The same rows inside of another dict."""
    return tuple(replace(row, path=f'{prefix}.{row.path}') for row in rows)


DATA = Section(
    'Data', 'Batch sizes and workers count per process. `val_dataloader` and `test_dataloader` take the keys of `train_dataloader`.',
    both=(
        Key('prefetch', bool | dict, 'False', 'True', 'Hand over uint8 images and normalise on the device (with a CUDA stream of its own '
            'on a GPU): a ToTensor and a Normalize at the end of a pipeline move there. A dict has the device do more.'),
        *PREFETCH,
        Key('img_norm_cfg', dict | None, 'None', 'dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])',
            'Normalisation that `prefetch` applies where the pipelines do not end in Normalize; values for images in [0, 1].'),
        *NORM,
        Key('pipeline_backend', Backend, "'fast'", "'reference'", 'How images are decoded and the steps of pipelines computed. Both draw '
            "the same views; 'reference' computes them with PIL and torchvision, bit for bit as earlier versions did."),
        Key('cache', dict | None, 'None', "dict(size=256, where='memory')", 'Decode the training images once, make them '
            'small and keep them as uint8, for all workers and processes of a machine. The views are those of the smaller images.'),
        *CACHE,
    ),
    short=(
        Key('data', dict, '-', 'dict(imgs_per_gpu=32, workers_per_gpu=4, train=dict(...))', 'The data sets and how they are read.'),
        Key('data.imgs_per_gpu', Count, REQUIRED, '32', 'Samples per process and iteration, counted before views.'),
        Key('data.workers_per_gpu', WORKERS, "'auto'", '4', 'Loader workers per process; 0 loads in the training process. auto: the '
            'cores that the machine gives, shared by its processes, at most 16.'),
        Key('data.sampling_replace', bool, 'False', 'True', 'Draw the training samples of an epoch with replacement.'),
        Key('data.sampler', dict | None, "dict(type='EpochSampler')", "dict(type='RepeatAugSampler', num_repeats=3)",
            'Order of the training samples, in place of `sampling_replace`. Without it, sources that are read block by block '
            '(packed or distant shards, streams) are shuffled by `WindowSampler`.', 'SAMPLERS'),
        Key('data.drop_last', bool, 'False', 'True', 'Leave out the last, smaller training batch.'),
        *_below('data', LOADING),
        Key('data.train', dict, REQUIRED, "dict(type='ContrastiveDataset', data_source=dict(...), pipeline=[...])",
            'The data set to train on.', 'DATASETS'),
        Key('data.val', dict | None, 'None', "dict(type='ClassificationDataset', ...)", 'The data set of tools/test.py.', 'DATASETS'),
        Key('data.test', dict | None, 'None', "dict(type='ClassificationDataset', ...)", 'A further data set.', 'DATASETS'),
    ),
    native=(
        Key('train_dataloader', dict, '-', 'dict(batch_size=32, num_workers=4, dataset=dict(...))', 'Training data and how it is read.'),
        Key('train_dataloader.batch_size', Count, REQUIRED, '32', 'Samples per process and iteration, counted before views.'),
        Key('train_dataloader.num_workers', WORKERS, "'auto'", '4', 'Loader workers per process.'),
        Key('train_dataloader.dataset', dict, REQUIRED, "dict(type='ContrastiveDataset', ...)", 'The data set.', 'DATASETS'),
        Key('train_dataloader.sampler', dict, "dict(type='EpochSampler')", "dict(type='EpochSampler', replace=True)",
            'Order of the samples. `DefaultSampler` and `InfiniteSampler` are read as `EpochSampler`.', 'SAMPLERS'),
        Key('train_dataloader.sampler.shuffle', bool, 'True for training', 'False', 'Random order, new in every epoch.'),
        Key('train_dataloader.sampler.replace', bool, 'False', 'True', 'Draw with replacement.'),
        Key('train_dataloader.drop_last', bool, 'False', 'True', 'Leave out the last, smaller batch.'),
        Key('train_dataloader.prefetch', bool | dict, 'top-level prefetch', 'True', 'As the top-level key, for this loader.'),
        *_below('train_dataloader', PREFETCH),
        Key('train_dataloader.img_norm_cfg', dict | None, 'top-level img_norm_cfg', 'dict(mean=[...], std=[...])',
            'As the top-level key, for this loader.'),
        *_below('train_dataloader', NORM),
        Key('train_dataloader.pipeline_backend', Backend, 'top-level pipeline_backend', "'reference'",
            'As the top-level key, for this loader.'),
        Key('train_dataloader.cache', dict | None, 'top-level cache', "dict(size=256, where='memory')", 'As the top-level key, for this '
            'loader; the top-level key is for training alone.'),
        *_below('train_dataloader', CACHE),
        *_below('train_dataloader', LOADING),
        Key('val_dataloader', dict | None, 'None', 'dict(batch_size=32, dataset=dict(...))', 'Data of tools/test.py, in order.'),
        Key('test_dataloader', dict | None, 'None', 'dict(batch_size=32, dataset=dict(...))', 'Further data, in order.'),
    ))

CLIP = (
    Key('max_norm', Positive, REQUIRED, '10', 'Largest gradient norm.'),
    Key('norm_type', Positive, '2', '2', 'Which norm.'),
    Key('per_tensor', bool, 'False', 'True', 'Each gradient by its own norm (DINO); False: all by their common norm.'),
)
PARAMWISE_KEYS = (
    Key('lr', PARAMWISE['lr'], "the optimizer's", '0.1', 'Learning rate.'),
    Key('lr_mult', PARAMWISE['lr_mult'], '1', '10', "Factor on the optimizer's learning rate."),
    Key('momentum', PARAMWISE['momentum'], "the optimizer's", '0', 'Momentum.'),
    Key('momentum_mult', PARAMWISE['momentum_mult'], '1', '0', "Factor on the optimizer's momentum."),
    Key('weight_decay', PARAMWISE['weight_decay'], "the optimizer's", '0.0', 'Weight decay.'),
    Key('weight_decay_mult', PARAMWISE['weight_decay_mult'], '1', '0', "Factor on the optimizer's weight decay."),
    Key('lars_exclude', PARAMWISE['lars_exclude'], 'False', 'True', '`LARS`, `BarlowLARS`, `LARC`: update without the trust ratio.'),
    Key('max_ndim', PARAMWISE['max_ndim'], '-', '1', 'The regex is for parameters of at most so many axes: 1 for biases and norms.'),
    Key('constant_lr', PARAMWISE['constant_lr'], 'False', 'True', 'Keep their learning rate all the time: neither `lr_config` nor its '
        'warm-up changes it.'),
)


def _paramwise(prefix: str) -> tuple[Key, ...]:
    example = "{'(bn|gn)(\\\\d+)?.(weight|bias)': dict(weight_decay=0., lars_exclude=True), '\\\\Ahead.': dict(lr_mult=10)}"
    return (
        Key(prefix, dict | None, 'None', example, 'Regex -> options of the parameters whose name it finds (`re.search`), in order; '
            'later patterns win.'),
        Key(f'{prefix}.*', dict, '-', 'dict(weight_decay=0.)', 'Options of one regex.'),
        *_below(f'{prefix}.*', PARAMWISE_KEYS))


def _layer_decay(prefix: str) -> tuple[Key, ...]:
    return (
        Key(prefix, dict | None, 'None', "dict(rate=0.9, groups='single')", 'Learning rates that shrink from the head to the stem: '
            'layer i of N has rate ** (N + 1 - i) of the rate, and of its schedule. For fine-tuning.'),
        Key(f'{prefix}.rate', DECAY['rate'], REQUIRED, '0.9', 'Factor per layer.'),
        Key(f'{prefix}.groups', DECAY['groups'], "'single'", "'group'", 'What a layer is: `single` each block; `group` three '
            "blocks of a ConvNeXt's third stage (12 layers); `spark` SparK's grouping of ConvNeXts and ResNets."))


def _freeze(prefix: str) -> tuple[Key, ...]:
    return (
        Key(prefix, list[dict] | None, 'None', "[dict(parameters=r'^prototypes', iters=313)]", 'Parameters whose gradients are dropped '
            'at first, after the clipping: neither weight decay nor momentum moves them.'),
        Key(f'{prefix}.*', dict, '-', "dict(parameters='last_layer', epochs=1)", 'One of `iters` and `epochs`.'),
        Key(f'{prefix}.*.parameters', FREEZE['parameters'], REQUIRED, "'last_layer'", 'Regex, found in their names (`re.search`).'),
        Key(f'{prefix}.*.iters', FREEZE['iters'], '-', '313', 'Optimizer steps at iterations (micro-batches, from 0) below it leave them.'),
        Key(f'{prefix}.*.epochs', FREEZE['epochs'], '-', '1', 'The same in epochs.'))


def _optimizer(prefix: str) -> tuple[Key, ...]:
    return (
        Key(prefix, dict, REQUIRED if '.' in prefix else '-', "dict(type='SGD', lr=0.03, momentum=0.9, weight_decay=1e-4)",
            'Any optimizer of torch, `LARS`, `BarlowLARS`, `LARC` or `LAMB`, with its arguments.', 'OPTIMIZERS'),
        Key(f'{prefix}.lr', NotNegative, "the optimizer's", '0.03', 'Learning rate; the schedule starts from it. It is used as given: '
            'scale it with the global batch yourself, or give base_lr.'),
        Key(f'{prefix}.base_lr', NotNegative, '-', '1.5e-4', 'In place of lr: lr = base_lr * images per optimizer step / 256.'),
        Key(f'{prefix}.momentum', Momentum, "the optimizer's", '0.9', 'Momentum.'),
        Key(f'{prefix}.weight_decay', NotNegative, "the optimizer's", '1e-4', 'Weight decay.'))


OPTIMIZER = Section(
    'Optimizer',
    short=(
        *_optimizer('optimizer'),
        *_paramwise('optimizer.paramwise_options'),
        *_layer_decay('optimizer.layer_decay'),
        Key('optimizer_config', dict | None, 'None', 'dict(update_interval=2)', 'How the gradients are used.'),
        Key('optimizer_config.update_interval', Count, '1', '16', 'Iterations whose gradients are averaged for one optimizer step.'),
        Key('optimizer_config.grad_clip', dict | None, 'None', 'dict(max_norm=10)', 'Gradient clipping.'),
        *_below('optimizer_config.grad_clip', CLIP),
        *_freeze('optimizer_config.freeze'),
        Key('optimizer_config.use_fp16', bool, 'False', 'True', 'Same as the top-level `use_fp16`; either switches it on.'),
        Key('optimizer_config.coalesce', bool, '-', 'True', 'Accepted, without effect (a warning says so).'),
        Key('optimizer_config.bucket_size_mb', int, '-', '-1', 'Accepted, without effect (a warning says so).'),
        Key('use_fp16', bool, 'False', 'True', 'Mixed precision: fp16 with loss scaling on CUDA, bf16 on the CPU.'),
    ),
    native=(
        Key('optim_wrapper', dict, '-', "dict(type='OptimWrapper', optimizer=dict(...))", 'Optimizer and how gradients are used.'),
        Key('optim_wrapper.type', Literal['OptimWrapper', 'AmpOptimWrapper'], "'OptimWrapper'", "'AmpOptimWrapper'",
            '`AmpOptimWrapper` is mixed precision.'),
        *_optimizer('optim_wrapper.optimizer'),
        *_paramwise('optim_wrapper.paramwise_options'),
        *_layer_decay('optim_wrapper.layer_decay'),
        Key('optim_wrapper.paramwise_cfg', dict | None, 'None', 'dict(paramwise_options={...})',
            "mmengine's place for `paramwise_options`; its other keys are not supported."),
        Key('optim_wrapper.accumulative_counts', Count, '1', '16', 'Iterations per optimizer step.'),
        Key('optim_wrapper.clip_grad', dict | None, 'None', 'dict(max_norm=10)', 'Gradient clipping.'),
        *_below('optim_wrapper.clip_grad', CLIP),
        *_freeze('optim_wrapper.freeze'),
        Key('optim_wrapper.dtype', Literal['float16', 'bfloat16'], 'by device', "'bfloat16'",
            'AmpOptimWrapper: type of the low precision.'),
        Key('optim_wrapper.loss_scale', Literal['dynamic'] | Positive | dict, "'dynamic'", '512.', 'AmpOptimWrapper: loss scaling.'),
    ))

SCHEDULE = Section(
    'Learning rate', '`policy` may be written in any case, and `cosine` for `CosineAnnealing`. `WarmupCosine` changes with every optimizer '
    'step: linear warm-up to the base rate, from 0 if need be, then half a cosine over the rest of the run.',
    short=(
        Key('lr_config', dict | None, 'None (constant)', "dict(policy='CosineAnnealing', min_lr=0.)", 'Learning-rate schedule.'),
        Key('lr_config.policy', LR['policy'], REQUIRED, "'step'", f'One of {", ".join(POLICY_ARGS)}.'),
        Key('lr_config.by_epoch', LR['by_epoch'], 'True for total_epochs', 'False', 'Change with every epoch (True) or iteration (False).'),
        Key('lr_config.step', LR['step'], '-', '[120, 160]', '`step`: epochs (or iterations) at which the rate drops; '
            'a number: every so many.'),
        Key('lr_config.gamma', LR['gamma'], '0.1 for step', '0.2', '`step`, `exp`, `inv`: the factor.'),
        Key('lr_config.power', LR['power'], '1', '0.9', '`poly`, `inv`: the exponent.'),
        Key('lr_config.min_lr', LR['min_lr'], '0', '1e-5', '`step`, `poly` and the cosines: smallest learning rate.'),
        Key('lr_config.min_lr_ratio', LR['min_lr_ratio'], '-', '0.01', 'The cosines: the same as a share of the base rate.'),
        Key('lr_config.reach_end', LR['reach_end'], 'False', 'True', '`WarmupCosine`: the last step has the smallest rate (SparK); '
            'False: the one after it would (FCMAE).'),
        Key('lr_config.reach_peak', LR['reach_peak'], 'False', 'True', '`WarmupCosine`: the last step of the warm-up has the full rate, as '
            'has the step after it (SLaK, ConvNeXt); False: only the step after it.'),
        Key('lr_config.skip_start', LR['skip_start'], 'False', 'True', '`WarmupCosine`: the warm-up leaves out its first rate: its n steps '
            'have 1/n, 2/n, ... 1 of the way to the full rate (CNN-JEPA). With `warmup_ratio=0.` no step is made at rate 0.'),
        Key('lr_config.warmup', LR['warmup'], 'None', "'linear'", 'Warm-up that multiplies the schedule.'),
        Key('lr_config.warmup_iters', LR['warmup_iters'], REQUIRED + ' with warmup', '10', 'Length of the warm-up.'),
        Key('lr_config.warmup_ratio', LR['warmup_ratio'], '0.1', '1e-4', 'Factor at its first iteration; 0 only for `WarmupCosine`.'),
        Key('lr_config.warmup_by_epoch', LR['warmup_by_epoch'], 'False', 'True', '`warmup_iters` counts epochs.'),
        Key('weight_decay_config', dict | None, 'None (constant)', 'dict(end=0.2)', 'Half a cosine over the whole run, from the '
            "optimizer's weight_decay on. Groups without weight decay stay without."),
        Key('weight_decay_config.end', NotNegative, REQUIRED, '0.2', 'Weight decay at the last iteration.'),
        Key('weight_decay_config.reach_end', bool, 'True', 'False', 'True: the last iteration has `end` (SparK); False: the one after it '
            'would (DINO).'),
    ),
    native=(
        Key('param_scheduler', dict | list | None, 'None', "[dict(type='CosineAnnealingLR', T_max=200)]",
            "mmengine's schedulers, `PolicyLR` with the keys of `lr_config`, `CosineWeightDecay` with that of `weight_decay_config`.",
            'PARAM_SCHEDULERS'),
    ))

LENGTH = Section(
    'Length of the run', 'One of `total_epochs`, `total_iters`, `train_cfg`.',
    short=(
        Key('total_epochs', Count, '-', '200', 'Epochs to train.'),
        Key('total_iters', Count, '-', '10000', 'Iterations to train, instead of epochs.'),
        Key('test_cfg', dict, '-', '{}', 'Accepted when empty, as in old files.'),
    ),
    native=(
        Key('train_cfg', dict, '-', 'dict(by_epoch=True, max_epochs=200)', 'Length of the run. An empty dict counts as absent.'),
        Key('train_cfg.type', Literal['EpochBasedTrainLoop', 'IterBasedTrainLoop'], '-', "'IterBasedTrainLoop'", 'The same as `by_epoch`.'),
        Key('train_cfg.by_epoch', bool, 'True with max_epochs', 'False', 'Count epochs or iterations.'),
        Key('train_cfg.max_epochs', Count, '-', '200', 'Epochs to train.'),
        Key('train_cfg.max_iters', Count, '-', '10000', 'Iterations to train.'),
    ))

# Slots of default_hooks with the hook that fills each; None leaves the slot empty.
DEFAULT_HOOKS = MappingProxyType({
    'runtime_info': 'RuntimeInfoHook', 'timer': 'IterTimerHook', 'param_scheduler': 'ParamSchedulerHook',
    'logger': 'LoggerHook', 'checkpoint': 'CheckpointHook', 'collapse': 'CollapseHook', 'sampler_seed': None,
})
MEAN_PATTERN = '.*(loss|acc|time|data_time|grad_norm|embedding).*'  # logged values that are averaged; others show their last value
HOOK_SLOTS = MappingProxyType({'checkpoint_config': 'checkpoint', 'log_config': 'logger'})  # short section -> slot that it fills
LOGGER_BACKENDS = MappingProxyType({'TextLoggerHook': 'LocalVisBackend', 'TensorboardLoggerHook': 'TensorboardVisBackend'})

HOOKS = Section(
    'Hooks, checkpoints and logs', 'In `default_hooks` a dict without `type` changes arguments of the hook in that slot; None removes it.',
    both=(
        Key('custom_hooks', list | None, '[]', "[dict(type='BYOLHook', end_momentum=1.)]", 'Further hooks, in order.', 'HOOKS'),
        Key('visualizer', dict, 'console, JSON lines and tensorboard', "dict(vis_backends=[dict(type='LocalVisBackend')])",
            'Where logged values go. `log_config.hooks` sets the same.'),
        Key('visualizer.type', str, "'Visualizer'", "'Visualizer'", 'The visualizer.'),
        Key('visualizer.name', str, '-', "'visualizer'", 'Its name.'),
        Key('visualizer.vis_backends', list[dict], '-', "[dict(type='LocalVisBackend')]", 'Its outputs.'),
        Key('log_processor', dict, 'by_epoch as the run', 'dict(window_size=10)', "mmengine's LogProcessor."),
        *(Key(f'log_processor.{name}', kind, '-', example, meaning) for name, kind, example, meaning in (
            ('type', str, "'LogProcessor'", 'The processor.'),
            ('by_epoch', bool, 'True', 'Print epochs or iterations.'),
            ('window_size', Count, '10', 'Iterations that a printed value averages over.'),
            ('custom_cfg', list, '[]', 'Further statistics.'),
            ('num_digits', Count, '4', 'Digits printed.'),
            ('mean_pattern', str, repr(MEAN_PATTERN), 'Values that are averaged.'),
            ('log_with_hierarchy', bool, 'False', 'Keep `train/` in the names.'))),
    ),
    short=(
        Key('checkpoint_config', dict | None, 'None', 'dict(interval=10)', 'When checkpoints are written.'),
        Key('checkpoint_config.interval', Count, '1 epoch or 1000 iterations', '10', 'Epochs (or iterations) between checkpoints.'),
        Key('checkpoint_config.by_epoch', bool, 'as the run', 'False', 'Count epochs or iterations.'),
        Key('checkpoint_config.max_keep_ckpts', int, '-1', '3', 'Newest checkpoints to keep; -1 keeps all.'),
        Key('checkpoint_config.save_last', bool, 'True', 'False', 'Also write one when the run ends.'),
        Key('checkpoint_config.background', bool, 'True', 'False', 'Write a copy of the state while training goes on.'),
        Key('checkpoint_config.every_minutes', Positive | None, 'None', '15.', 'Also write `iter_N.pth` when the latest one is that old.'),
        Key('checkpoint_config.keep_every_hours', Positive | None, 'None', '6.',
            'Of the checkpoints that `max_keep_ckpts` would remove, one per that many hours stays.'),
        Key('log_config', dict | None, 'None', "dict(interval=50, hooks=[dict(type='TextLoggerHook')])", 'What is logged, how often.'),
        Key('log_config.interval', Count, '50', '10', 'Iterations between two log lines.'),
        Key('log_config.hooks', list[dict], 'both', "[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')]", 'Outputs.'),
        Key('log_config.hooks.*', dict, '-', "dict(type='TextLoggerHook')", 'One output.'),
        Key('log_config.hooks.*.type', Literal['TextLoggerHook', 'TensorboardLoggerHook'], REQUIRED, "'TextLoggerHook'",
            'Text is the console, the .log and JSON lines.'),
    ),
    native=(
        Key('default_hooks', dict, '-', "dict(checkpoint=dict(type='CheckpointHook', interval=10))", 'The hooks every run has, by slot.'),
        *(Key(f'default_hooks.{slot}', dict | None, f"dict(type='{kind}')" if kind else 'None',
              f"dict(type='{kind or 'DistSamplerSeedHook'}')", f'Slot of {kind or "a sampler hook"}.', 'HOOKS')
          for slot, kind in DEFAULT_HOOKS.items()),
    ))

ENVIRONMENT = Section(
    'Environment',
    short=(
        Key('dist_params', dict | None, "dict(backend='nccl')", "dict(backend='nccl')", 'How processes talk to each other.'),
        Key('dist_params.backend', str, "'nccl'", "'gloo'", 'nccl for GPUs; gloo is used where there is none.'),
        Key('dist_params.stop_within_s', Positive, '60', '300',
            'Seconds from a signal to the next safe point, and from there until the checkpoint is written; then the run ends without.'),
        Key('dist_params.timeout_s', Positive, '600', '1800',
            'Seconds that a process may be missing, silent or without progress before the run ends.'),
        Key('cudnn_benchmark', bool, 'True', 'False', 'Let cuDNN try algorithms; `--deterministic` switches it off.'),
    ),
    both=SPREAD,
    native=(
        Key('env_cfg', dict, '-', "dict(cudnn_benchmark=True, dist_cfg=dict(backend='nccl'))", 'The same in one dict.'),
        Key('env_cfg.cudnn_benchmark', bool, 'True', 'False', 'Let cuDNN try algorithms.'),
        Key('env_cfg.dist_cfg', dict, "dict(backend='nccl')", "dict(backend='gloo')", 'How processes talk to each other.'),
        Key('env_cfg.dist_cfg.backend', str, "'nccl'", "'gloo'", 'nccl or gloo.'),
        Key('env_cfg.dist_cfg.stop_within_s', Positive, '60', '300', 'Seconds from a signal to a safe point, and to the end of saving.'),
        Key('env_cfg.dist_cfg.timeout_s', Positive, '600', '1800', 'As in dist_params.'),
    ))

RUN = Section('The run', both=(
    Key('work_dir', str | None, 'work_dirs/ + config path', "'work_dirs/mine'", 'Folder of the outputs.'),
    Key('load_from', str | None, 'None', "'a.pth'", 'Checkpoint whose whole model is loaded before training.'),
    Key('resume_from', str | None, 'None', "'work_dirs/selfsup/moco/r50_v2/epoch_100.pth'", 'Checkpoint to go on from.'),
    Key('seed', Whole | None, 'None', '0', 'Seed of the run; None is 0, or the seed of the checkpoint when a run is resumed.'),
    Key('log_level', Literal['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'], "'INFO'", "'WARNING'", 'Least level to log.'),
    Key('workflow', list, "[('train', 1)]", "[('train', 1)]", 'Only training; validation is a hook.'),
    Key('find_unused_parameters', bool, 'False', 'True', "DistributedDataParallel's switch for parameters without gradient."),
    Key('channels_last', bool, 'False', 'True', 'Keep images and filters in NHWC memory: same results up to rounding, often several '
        'times faster on the CPU and with use_fp16.'),
    Key('gpus', Count, '-', '1', 'Accepted, without effect (a warning says so): the launcher decides.'),
    Key('custom_imports', dict, '-', "dict(imports=['my_package.models'])", 'Modules to import first; they register your own types.'),
    Key('custom_imports.imports', list[str] | str, REQUIRED, "['my_package.models']", 'The modules.'),
    Key('custom_imports.allow_failed_imports', bool, 'False', 'True', 'Go on where one is missing.'),
    Key('default_scope', Literal['selfsup'], "'selfsup'", "'selfsup'", 'Accepted for files in mmengine\'s form.'),
))

# fmt: on
SECTIONS = (MODEL, DATA, OPTIMIZER, SCHEDULE, LENGTH, HOOKS, ENVIRONMENT, RUN)

# Places that take the keys of another place.
ALIASES = MappingProxyType({'val_dataloader': 'train_dataloader', 'test_dataloader': 'train_dataloader'})


LR_CONFIG_KEYS = tuple(k.path.partition('.')[2] for k in SCHEDULE.short if k.path.startswith('lr_config.'))


def all_keys() -> tuple[Key, ...]:
    """Every row of the table, in the order of the documentation."""
    return tuple(key for s in SECTIONS for key in (*s.both, *s.short, *s.native))


def top_names(keys: tuple[Key, ...]) -> tuple[str, ...]:
    """Top-level names among `keys`, in order."""
    return tuple(dict.fromkeys(k.path.split('.')[0] for k in keys))


def is_absent(cfg: dict, name: str) -> bool:
    """True for a key that is missing, None or, as old files write it, an empty `train_cfg` or `test_cfg`."""
    value = cfg.get(name)
    return value is None or (name in ('train_cfg', 'test_cfg') and value == {})


def policy_name(written: str) -> str | None:
    """The policy's name as the key table writes it; None for no policy."""
    names = {name.lower(): name for name in POLICY_ARGS} | {'cosine': 'CosineAnnealing'}
    return names.get(written.lower())
