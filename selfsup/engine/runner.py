"""The Runner: mmengine's, with exact resume, atomic checkpoints, CPU and GPU DDP and our loop."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import pprint
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.runner import Runner as MMRunner
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .. import distributed as dist
from ..config import LoadedConfig
from ..datasets.loaders import build_loader
from ..errors import CheckpointError, ConfigError, SelfSupWarning, TrainingError, explain_worker
from ..optim.base_lr import IMAGES, scaled_lr
from ..optim.paramwise import param_groups
from ..optim.trained import check_protocol, parameters_by_part
from ..provenance import sha256
from ..registry import HOOKS, LOOPS, MODELS, OPTIM_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS, RUNNERS, build_from_config
from ..weights.load import load_backbone, load_matching, load_model, state_dict_of
from ..weights.read import read_checkpoint
from .environment import collect_environment
from .launch import init_distributed, shut_down
from .logs import messages
from .logs.curves import build_visualizer
from .logs.ending import ending_logged
from .logs.log import LogTrouble, lasting, write_beside
from .resume.branch import Branch
from .resume.comparison import Changes, check_asked, compare_and_log, describe_run
from .resume.state import check_fingerprint, unwrap
from .resume.state_checks import check_average, check_model_state, check_training_state
from .resume.training_state import load_training_state
from .schedulers import check_optimizer, check_smallest
from .start import decide_start, on_main

HISTORY = 10_000  # values kept per logged scalar; mmengine keeps a million and copies them at every update

# set by the command line or by our own steps, not arguments of mmengine's Runner
_OWN_KEYS = (
    'pretrained',
    'seed',
    'resume_from',
    'find_unused_parameters',
    'channels_last',
    'deterministic',
    'allow_changed',
)


class _CompiledConfig(Config):
    """What backends of the visualizer keep of the config. mmengine formats it with yapf, which takes half a second of every start."""

    @property
    def pretty_text(self) -> str:
        return f'compiled = {pprint.pformat(self.to_dict()["compiled"], width=140, sort_dicts=False)}\n'


@RUNNERS.register_module()
class Runner(MMRunner):
    """Builds what a compiled config names and trains it.

    Args:
        compiled: result of `config.compile_config`, with `work_dir` set.
        loaded: the config it came from; its text goes into the work dir and the checkpoints.
        launcher: 'none', 'pytorch' or 'slurm'.
        emergency_dir: where checkpoints go that cannot be written into the work dir.
    """

    def __init__(
        self,
        compiled: dict,
        loaded: LoadedConfig | None = None,
        launcher: str = 'none',
        emergency_dir: str | None = None,
    ) -> None:
        self._cap_history()
        self.loaded = loaded
        self.pretrained = compiled.get('pretrained')
        self._pretrained_sha256: str | None = None
        self.resume_from = compiled.get('resume_from')
        self._find_unused = compiled.get('find_unused_parameters', False)
        self.last_checkpoint: Path | None = None
        self.changes = Changes()  # between the run that is resumed and this one
        self.run_meta: dict = {}  # what checkpoints say of settings and data
        self.branch = Branch(compiled['work_dir'], emergency_dir)
        seed = compiled.get('seed')
        kwargs = {k: v for k, v in compiled.items() if k not in _OWN_KEYS}
        kwargs.update(
            val_dataloader=None,
            test_dataloader=None,
            randomness={'seed': 0 if seed is None else seed, 'deterministic': bool(compiled.get('deterministic'))},
        )
        self.compiled = compiled
        with ending_logged(self):
            super().__init__(
                **kwargs,
                launcher=launcher,
                cfg=_CompiledConfig({'compiled': compiled}),
                experiment_name=Path(compiled['work_dir']).name,
            )

    @staticmethod
    def _cap_history() -> None:
        defaults = list(HistoryBuffer.__init__.__defaults__)
        defaults[-1] = HISTORY
        HistoryBuffer.__init__.__defaults__ = tuple(defaults)

    # ---- set-up -----------------------------------------------------------------------------------------------------

    def setup_env(self, env_cfg: dict) -> None:
        self.device = init_distributed(self._launcher, **env_cfg.get('dist_cfg', {}))
        if self.device.type == 'cuda' and env_cfg.get('cudnn_benchmark'):
            torch.backends.cudnn.benchmark = True
        self._rank, self._world_size = dist.rank(), dist.world_size()
        # microseconds and process id: two runs started in the same second keep their logs apart, in one process too,
        # where mmengine would give the second run the visualizer of the first
        now = time.time_ns()
        stamp = (
            f'{time.strftime("%Y%m%d_%H%M%S", time.localtime(now // 10**9))}_{now // 1000 % 10**6:06d}_{os.getpid()}'
        )
        self._timestamp = dist.broadcast_object(stamp)

    def build_logger(self, log_level: int | str = 'INFO', **kwargs: Any) -> MMLogger:
        self.log_trouble = LogTrouble()
        return lasting(
            MMLogger.get_instance(self._experiment_name, logger_name='selfsup', log_level=log_level),
            Path(self._log_dir) / f'{self.timestamp}.log',
            self.log_trouble,
        )

    def build_visualizer(self, visualizer: dict | None = None) -> Any:
        return build_visualizer(
            {'name': self._experiment_name, 'save_dir': self._log_dir, **(visualizer or {})}, self.log_trouble
        )

    def set_randomness(self, seed: int, diff_rank_seed: bool = False, deterministic: bool = False) -> None:
        if deterministic:
            os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # cuBLAS reads it at its first call
        super().set_randomness(seed, diff_rank_seed, deterministic)

    def _log_env(self, env_cfg: dict) -> None:
        messages.send_to(self.logger.handlers)  # our warnings too; each is shown once
        env = {
            **collect_environment(),
            'seed': str(self.seed),
            'deterministic': str(self.deterministic),
            'launcher': self._launcher,
            'world_size': str(self.world_size),
            'device': str(self.device),
        }
        self.environment = env
        self.logger.info('Environment: ' + ', '.join(f'{k} {v}' for k, v in env.items()))
        if dist.is_main():
            write_beside(Path(self._log_dir) / 'environment.json', json.dumps(env, indent=1) + '\n', self.log_trouble)

    def dump_config(self) -> None:
        """The config as written (merged) and as compiled, beside the checkpoints."""
        if not dist.is_main():
            return
        if self.loaded is not None:  # the copy in the work dir itself waits until the run may start
            write_beside(Path(self._log_dir) / Path(self.loaded.path).name, self.loaded.text, self.log_trouble)
        write_beside(
            Path(self._log_dir) / 'compiled.json',
            json.dumps(self.compiled, indent=1, default=str) + '\n',
            self.log_trouble,
        )

    def register_hook(self, hook: Any, priority: str | int | None = None) -> None:
        if isinstance(hook, dict):  # here, not by mmengine: its errors name an object, ours the setting
            hook = dict(hook)
            given = hook.pop('priority', None)
            hook, priority = build_from_config(hook, registry=HOOKS), given if priority is None else priority
        if not isinstance(hook, Hook):
            raise ConfigError(
                f'{type(hook).__name__} is registered as a hook, but is none: derive it from mmengine.hooks.Hook.'
            )
        try:
            super().register_hook(hook, priority)
        except (KeyError, TypeError, ValueError):
            raise ConfigError(
                f'{type(hook).__name__} has priority={getattr(hook, "priority", priority)!r}: use a name such as NORMAL, '
                'or a number from 0 (first) to 100.'
            ) from None

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        """An empty slot (None) of mmengine's own drops that hook; one of ours, which mmengine does not know, is left out."""
        super().register_default_hooks(
            {slot: hook for slot, hook in (hooks or {}).items() if hook is not None or slot != 'collapse'}
        )

    def get_hooks_info(self) -> str:
        return ', '.join(f'{type(h).__name__}' for h in self._hooks)

    def build_model(self, model: dict | nn.Module) -> nn.Module:
        built = model if isinstance(model, nn.Module) else MODELS.build(model)
        if self.pretrained:
            load_backbone(built, self.pretrained)
            self._pretrained_sha256 = sha256(self.pretrained)
        return built

    def say_what_is_trained(self, protocol: str | None = None) -> None:
        """Write `parameters.json` beside the log: how many parameters of each part are trained and frozen. Refuse another `protocol`."""
        model = unwrap(self.model)
        if protocol:
            check_protocol(protocol, model)
        counts = parameters_by_part(model)
        shown = '; '.join(f'{name} {n["trained"]:,} trained, {n["frozen"]:,} frozen' for name, n in counts.items())
        self.logger.info(f'Parameters: {shown}')
        if dist.is_main():
            write_beside(Path(self._log_dir) / 'parameters.json', json.dumps(counts, indent=1) + '\n', self.log_trouble)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Move to the device; under a launcher, DistributedDataParallel on CPU or GPU.

        Buffers are not broadcast at each step (as documented: every rank keeps its own running statistics; rank 0's are
        saved). Queues and banks stay equal because each rank computes them from gathered values.
        """
        layout = torch.channels_last if self.compiled.get('channels_last') else torch.preserve_format
        model = model.to(self.device, memory_format=layout)
        if not self.distributed:
            return model
        ids = [self.device.index] if self.device.type == 'cuda' else None
        known = inspect.signature(DistributedDataParallel.__init__).parameters
        buffers = (
            'forward_sync_buffers' if 'forward_sync_buffers' in known else 'broadcast_buffers'
        )  # newer torch warns of the old name
        return DistributedDataParallel(
            model, device_ids=ids, find_unused_parameters=self._find_unused, **{buffers: False}
        )

    # ---- training ---------------------------------------------------------------------------------------------------

    def build_train_loop(self, loop: dict) -> Any:
        loader = build_loader(
            dict(self._train_dataloader), seed=self.seed, device=self.device, rank=self.rank, world_size=self.world_size
        )
        arguments = {k: loop[k] for k in ('max_epochs', 'max_iters') if loop.get(k) is not None}
        return LOOPS.build({'type': 'TrainLoop', **arguments}, runner=self, dataloader=loader)

    def build_optim_wrapper(self, optim_wrapper: dict) -> Any:
        cfg = dict(optim_wrapper)
        optimizer_cfg = self._scale_lr(cfg.pop('optimizer'), cfg.get('accumulative_counts', 1))
        paramwise = cfg.pop('paramwise_options', None)
        groups = param_groups(unwrap(self.model), optimizer_cfg, paramwise, cfg.pop('layer_decay', None))
        check_optimizer(optimizer_cfg)
        optimizer = build_from_config(optimizer_cfg, groups, registry=OPTIMIZERS)
        return OPTIM_WRAPPERS.build(cfg, optimizer=optimizer, device_type=self.device.type)

    def _scale_lr(self, optimizer_cfg: dict, update_interval: int) -> dict:
        images = self._images_per_step(update_interval)
        scaled = scaled_lr(optimizer_cfg, images)
        if 'base_lr' in optimizer_cfg:
            base = optimizer_cfg['base_lr']
            self.logger.info(
                f'Learning rate {scaled["lr"]:.6g}: base_lr {base:g} * {images} images per step / {IMAGES}'
            )
        return scaled

    def _images_per_step(self, update_interval: int) -> int:
        return self.train_loop.dataloader.batch_size * self.world_size * update_interval

    def build_param_scheduler(self, scheduler: list[dict]) -> list:
        loop = self.train_loop
        built = []
        for cfg in scheduler:
            if cfg['type'] == 'PolicyLR':
                cfg = {
                    **cfg,
                    'iters_per_epoch': loop.iters_per_epoch,
                    'max_iters': loop.max_iters,
                    'update_interval': self.optim_wrapper.update_interval,
                    'base_lr': self.compiled['optim_wrapper']['optimizer'].get('base_lr'),
                }
            elif cfg['type'] == 'CosineWeightDecay':
                cfg = {**cfg, 'max_iters': loop.max_iters}
            elif cfg.get('convert_to_iter_based'):
                cfg = {**cfg, 'epoch_length': loop.iters_per_epoch}
            try:
                built.append(PARAM_SCHEDULERS.build(cfg, default_args={'optimizer': self.optim_wrapper}))
            except (AssertionError, TypeError, ValueError) as error:  # mmengine asserts what a user may have written
                raise ConfigError(f"param_scheduler type='{cfg['type']}' could not be built: {error}") from error
            check_smallest(built[-1])
        return built

    def train(self) -> nn.Module:
        """Build loop, optimizer and schedules, resume or load where asked, train."""
        with ending_logged(self):
            return self._train()

    def _train(self) -> nn.Module:
        self._train_loop = self.build_train_loop(self._train_loop)
        self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
        self.param_schedulers = self.build_param_scheduler(self.param_schedulers or [])
        self.call_hook('before_run')
        self.run_meta = describe_run(self.compiled, self.train_loop.dataloader.dataset)
        if self.resume_from:
            self.resume(self.resume_from)
        elif self._load_from:
            load_model(self.model, self._load_from)
        if self.compiled.get('allow_changed') and not self.resume_from:
            self.logger.info('--allow-changed: the work dir holds no checkpoint, so nothing is compared.')
        if dist.is_main() and self.loaded is not None:  # nothing refused it, so it says what counts
            write_beside(Path(self.work_dir) / Path(self.loaded.path).name, self.loaded.text, self.log_trouble)
        on_main(lambda: self.branch.begin(self.resume_from, self.iter))
        try:
            model = self._train_loop.run()
        except (
            RuntimeError
        ) as error:  # torch's signal handler raises it wherever this process is when a loader worker dies
            explained = explain_worker(str(error))
            if explained is None:
                raise
            raise explained from error
        finally:
            self._train_loop.dataloader.close()
        self.call_hook('after_run')
        return model

    # ---- checkpoints ------------------------------------------------------------------------------------------------

    def fingerprint(self) -> dict:
        """What must be the same for a resumed run to equal a straight one."""
        loader = self.train_loop.dataloader
        return {
            'seed': self.seed,
            'world_size': self.world_size,
            'batch_size': loader.batch_size,
            'iters_per_epoch': self.train_loop.iters_per_epoch,
            'dataset_length': len(loader.dataset),
            'sampler': dict(self._train_dataloader['sampler']),
            'update_interval': self.optim_wrapper.update_interval,
            'optimizer': type(self.optim_wrapper.optimizer).__name__,
            'pretrained': self._pretrained_sha256,
        }

    def save_checkpoint(self, name: str, *, epoch: int, iteration: int, keep: int = -1) -> Path:
        """Write `work_dir/name` on rank 0 (atomically), record it and point `latest.pth` at it.

        Args:
            name: file name.
            epoch: epochs finished.
            iteration: iterations finished.
            keep: how many files of this kind (`epoch_` or `iter_`) stay, the newest of those that this run wrote; -1: all.

        Returns:
            the file, which lies in the emergency folder where the work dir did not take it.

        Raises:
            CheckpointError: it could be written nowhere; older checkpoints are as they were.
            TrainingError: weights are not finite; nothing is written.
        """
        on_cpu = (lambda v: v.detach().cpu()) if dist.is_main() else (lambda v: v)  # only the rank that writes copies
        checkpoint = {
            'meta': {
                'epoch': epoch,
                'iter': iteration,
                'time': time.strftime('%Y-%m-%d %H:%M:%S'),
                'branch': self.branch.line,
                'fingerprint': self.fingerprint(),
                'config': self.loaded.text if self.loaded else '',
                'algorithm': type(unwrap(self.model)).__name__,
                'environment': self.environment,
                **self.run_meta,
            },
            'state_dict': {k: on_cpu(v) for k, v in unwrap(self.model).state_dict().items()},
            'optimizer': self.optim_wrapper.state_dict(),
            'param_schedulers': [s.state_dict() for s in self.param_schedulers],
        }
        self.call_hook('before_save_checkpoint', checkpoint=checkpoint)  # looks at the losses first
        self._check_finite(iteration)
        try:
            self.last_checkpoint = on_main(
                lambda: self.branch.write(checkpoint, name, keep=keep, verify=self.last_checkpoint is None)
            )
        except CheckpointError as problem:
            kept = f' The last good checkpoint is {self.last_checkpoint}.' if self.last_checkpoint else ''
            raise CheckpointError(f'{problem}{kept}') from None
        return self.last_checkpoint

    def _check_finite(self, iteration: int) -> None:
        """A loss may stay finite when weights are not any more, behind a ReLU say: they must not take the place of good ones."""
        model = unwrap(self.model)
        named = [
            *model.named_parameters(),
            *((n, b) for n, b in model.named_buffers() if n.endswith(('running_mean', 'running_var'))),
        ]
        finite = torch.stack([value.detach().isfinite().all() for _, value in named]).tolist()
        broken = [name for (name, _), good in zip(named, finite, strict=True) if not good]
        if broken:
            kept = (
                f'the last good checkpoint is {self.last_checkpoint}'
                if self.last_checkpoint
                else 'no checkpoint was saved yet'
            )
            raise TrainingError(
                f'Weights are not finite after iteration {iteration}: {", ".join(broken[:3])}'
                f'{f" and {len(broken) - 3} more" if len(broken) > 3 else ""}; {kept}. Lower the learning rate, clip '
                'gradients (optimizer_config.grad_clip) or train without use_fp16.'
            )

    def resume(self, filename: str, **_: Any) -> None:
        """Continue the run that wrote `filename`, exactly.

        Raises:
            CheckpointError: unreadable, of another model or optimizer, or the run differs in what must be the same.
        """
        checkpoint = read_checkpoint(filename)
        meta = check_training_state(checkpoint, filename)
        self.run_meta = self.run_meta or describe_run(self.compiled, self.train_loop.dataloader.dataset)
        self.changes = on_main(
            lambda: compare_and_log(
                self.logger,
                meta,
                self.compiled,
                self.run_meta.get('data', {}),
                path=filename,
                images=self._images_per_step(self.optim_wrapper.update_interval),
                allowed=self.compiled.get('allow_changed') or (),
            )
        )
        if 'fingerprint' in meta:
            if not self.pretrained:  # they need not be named again
                self._pretrained_sha256 = meta['fingerprint'].get('pretrained')
            check_fingerprint(meta['fingerprint'], self.fingerprint(), filename, self.changes.problems())
        else:
            warnings.warn(
                f'{filename} does not say how its run was started: its data order cannot be checked.',
                SelfSupWarning,
                stacklevel=2,
            )
        weights, model = state_dict_of(checkpoint, filename), unwrap(self.model)
        check_model_state(weights, filename)
        check_average(checkpoint, model.state_dict(), filename)
        load_matching(model, weights, filename, type(model).__name__, strict=True)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        self.changes.check(filename)
        load_training_state(self.optim_wrapper, self.param_schedulers, checkpoint, self.changes, filename, self.logger)
        self.run_meta['changed'] = self.changes.record(meta['iter'])
        self.train_loop.start_at(meta['epoch'], meta['iter'])
        self.last_checkpoint = Path(filename)
        left = self.train_loop.max_iters - meta['iter']
        rest = (
            f'{left} iterations are left'
            if left > 0
            else 'nothing is left to do; raise total_epochs or total_iters to train longer'
        )
        self.logger.info(f'Resumed {filename}: epoch {meta["epoch"]}, iteration {meta["iter"]}; {rest}.')


def train(
    compiled: dict,
    loaded: LoadedConfig,
    *,
    launcher: str = 'none',
    auto_resume: bool = False,
    start_over: bool = False,
    allow_changed: Sequence[str] = (),
    emergency_dir: str | None = None,
    protocol: str | None = None,
) -> Runner:
    """Everything tools/train.py does after reading its arguments.

    Args:
        compiled: with `work_dir` set; `resume_from`, `seed`, `pretrained`, `deterministic` as the user asked.
        loaded: the config it came from.
        auto_resume: continue from the newest readable checkpoint of the line that the work dir follows, if there is one.
        start_over: a work dir with checkpoints is allowed; they are moved to a subfolder.
        allow_changed: settings whose new values may count when the run is resumed, see `engine.comparison`.
        emergency_dir: where checkpoints go that cannot be written into the work dir; None: such a run ends.
        protocol: refuse a run that is not what this name says, see `optim.trained.check_protocol`.

    Raises:
        SelfSupError: anything the user can mend.
    """
    check_asked(allow_changed, resuming=bool(auto_resume or compiled.get('resume_from')))
    compiled['allow_changed'] = list(allow_changed)
    given = dist.is_active()  # a group that a caller made stays his
    init_distributed(launcher, **compiled['env_cfg'].get('dist_cfg', {}))
    with contextlib.ExitStack() as held:
        held.enter_context(messages.restored())
        if not given:
            held.callback(shut_down)
        compiled['resume_from'], compiled['seed'] = on_main(
            lambda: decide_start(
                compiled, auto_resume=auto_resume, start_over=start_over, emergency_dir=emergency_dir, held=held
            )
        )
        runner = Runner(compiled, loaded, launcher, emergency_dir)
        runner.say_what_is_trained(protocol)
        runner.train()
        return runner
