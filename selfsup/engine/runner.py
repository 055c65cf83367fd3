"""The Runner: builds what a run is made of, in the order of `__init__`, and trains it, in the order of `train`."""

from __future__ import annotations

import json
import os
import pprint
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook as MMCheckpointHook
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner as MMRunner
from torch import nn

from .. import distributed as dist
from ..config import LoadedConfig, RunConfig
from ..datasets.loaders import build_loader
from ..distributed import unwrap
from ..errors import ConfigError, explain_worker
from ..optim.trained import check_protocol, parameters_by_part
from ..registry import HOOKS, LOOPS, MODELS, RUNNERS, build_from_config
from ..weights.load import load_backbone, load_model
from .environment import collect_environment
from .logs import messages
from .logs.curves import build_message_hub, build_visualizer
from .logs.ending import ending_logged
from .logs.log import LogTrouble, lasting, write_beside
from .loop import TrainLoop
from .optim_wrapper import OptimWrapper
from .optimization import build_optim_wrapper, build_schedules
from .processes import ddp, fsdp
from .processes.compiling import compile_backbone
from .processes.interruption import EvaluationGivenUp, Interruption
from .processes.launch import init_distributed
from .processes.time_limit import TimeLimit
from .resume.changes import Changes
from .resume.saving import Checkpoints
from .safe_points import SafePoints


class _CompiledConfig(Config):
    """What backends of the visualizer keep of the config. mmengine formats it with yapf, which takes half a second of every start."""

    @property
    def pretty_text(self) -> str:
        return f'compiled = {pprint.pformat(self.to_dict()["compiled"], width=140, sort_dicts=False)}\n'


@RUNNERS.register_module()
class Runner(MMRunner):
    """Builds what a compiled config names and trains it: the `Run` that hooks are called with.

    It is one of mmengine's runners for the sake of the hooks: it has the attributes that theirs read (`_train_loop`, `_hooks`, ...) and
    inherits `call_hook`, `register_hook` and the properties. mmengine's constructor is not called: everything is built here.

    Args:
        compiled: result of `config.compile_config`, with `work_dir` set.
        loaded: the config it came from; its text goes into the work dir and the checkpoints.
        launcher: 'none', 'pytorch' or 'slurm'.
        emergency_dir: where checkpoints go that cannot be written into the work dir.
        interruption: whether the training was asked to stop; None: nobody asks.
        limit: when its time is over; None: never.
    """

    # built by `prepare`; validation and tests are hooks here, so mmengine's loops for them are not there
    _train_loop: TrainLoop | None = None
    _val_loop = None
    _test_loop = None
    train_loop: TrainLoop
    optim_wrapper: OptimWrapper
    param_schedulers: list[Any]

    def __init__(
        self,
        compiled: dict,
        loaded: LoadedConfig | None = None,
        launcher: str = 'none',
        emergency_dir: str | None = None,
        interruption: Interruption | None = None,
        limit: TimeLimit | None = None,
    ) -> None:
        config = self.config = RunConfig.of(compiled)
        self.loaded = loaded
        self._load_from, self._resume = config.load_from, bool(config.resume_from)
        with ending_logged(self):
            # Device, rank and number of processes, and the name of this start, which all processes share.
            self._join_processes(launcher)
            # The first weights of the model are drawn from this seed, so nothing may draw in between.
            self._seed()
            # From here on there is a log folder, a log file and a console, and what ends the run stands in them.
            self._open_log()
            self._log_environment()
            # Scalars that wait for a log line, and curves, which begin with the config.
            self.message_hub = build_message_hub(self._experiment_name)
            self.visualizer = self._open_curves()
            # The algorithm, its backbone from `pretrained` where that is given, on the device.
            self.model = self._build_model()
            self.checkpoints = Checkpoints(self, loaded.text if loaded else '', emergency_dir)
            self.safe_points = SafePoints(self, interruption or Interruption(), limit)
            # By priority, those of the slots first where priorities are equal.
            self._hooks: list[Hook] = []
            self.register_hooks(config.default_hooks, config.custom_hooks)
            self.logger.info(f'Hooks will be executed in the following order:\n{self.get_hooks_info()}')
            # Last, as nothing has refused the run so far.
            self.dump_config()

    # ---- the steps of __init__ ----

    def _join_processes(self, launcher: str) -> None:
        self.device = init_distributed(launcher, **self.config.dist_cfg)
        if self.device.type == 'cuda' and self.config.env_cfg.get('cudnn_benchmark'):
            torch.backends.cudnn.benchmark = True
        self._launcher, self._distributed = launcher, launcher != 'none'
        self._rank, self._world_size = dist.rank(), dist.world_size()
        # microseconds and process id: two runs started in the same second keep their logs apart, in one process too,
        # where mmengine would give the second run the visualizer of the first
        now = time.time_ns()
        start = time.strftime('%Y%m%d_%H%M%S', time.localtime(now // 10**9))
        self._timestamp = dist.broadcast_object(f'{start}_{now // 1000 % 10**6:06d}_{os.getpid()}')

    def _seed(self) -> None:
        if self.config.deterministic:
            os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # cuBLAS reads it at its first call
        self.set_randomness(self.config.seed or 0, deterministic=self.config.deterministic)

    def _open_log(self) -> None:
        self._work_dir = os.path.abspath(self.config.work_dir)
        self._log_dir = os.path.join(self._work_dir, self._timestamp)
        os.makedirs(self._log_dir, exist_ok=True)
        self._experiment_name = f'{Path(self.config.work_dir).name}_{self._timestamp}'
        # mmengine's own parts look for ours in this scope
        self.default_scope = DefaultScope.get_instance(self._experiment_name, scope_name=self.config.default_scope)
        self.log_processor = self.build_log_processor(self.config.log_processor)
        self.log_trouble = LogTrouble()
        self.logger = lasting(
            MMLogger.get_instance(self._experiment_name, logger_name='selfsup', log_level=self.config.log_level),
            Path(self._log_dir) / f'{self._timestamp}.log',
            self.log_trouble,
        )

    def _log_environment(self) -> None:
        messages.send_to(self.logger.handlers)  # our warnings too; each is shown once
        self.environment = {
            **collect_environment(),
            'seed': str(self.seed),
            'deterministic': str(self.deterministic),
            'launcher': self._launcher,
            'world_size': str(self.world_size),
            'device': str(self.device),
        }
        self.logger.info('Environment: ' + ', '.join(f'{k} {v}' for k, v in self.environment.items()))
        self._write_beside(f'{self._timestamp}/environment.json', _json(self.environment))

    def _open_curves(self) -> Any:
        visualizer = build_visualizer(
            {'name': self._experiment_name, 'save_dir': self._log_dir, **self.config.visualizer}, self.log_trouble
        )
        self.cfg = _CompiledConfig({'compiled': self.config.compiled})  # hooks of mmengine read its `pretty_text`
        visualizer.add_config(self.cfg)
        return visualizer

    def _build_model(self) -> nn.Module:
        config = self.config
        model = MODELS.build(config.model)
        self._model_name = type(model).__name__
        if config.pretrained:
            load_backbone(model, config.pretrained)
        if config.compile:
            compile_backbone(model, config.compile)
        if config.fsdp and self._distributed:
            return fsdp.shard(model, self.device, config.fsdp, channels_last=config.channels_last)
        return ddp.wrap(
            model,
            self.device,
            distributed=self._distributed,
            channels_last=config.channels_last,
            find_unused_parameters=config.find_unused_parameters,
            options=config.ddp,
        )

    # ---- hooks ----

    def register_hook(self, hook: Hook | dict, priority: str | int | None = None) -> None:
        """mmengine's, with errors that name the setting and not an object."""
        if isinstance(hook, dict):
            arguments = {key: value for key, value in hook.items() if key != 'priority'}
            priority = hook.get('priority') if priority is None else priority
            hook = build_from_config(arguments, registry=HOOKS)
        if isinstance(hook, type):
            raise ConfigError(
                f'The class {hook.__name__} stands where a hook belongs: give an object, {hook.__name__}(...).'
            )
        if not isinstance(hook, Hook):
            raise ConfigError(
                f'{type(hook).__name__} is registered as a hook, but is none: derive it from mmengine.hooks.Hook.'
            )
        if isinstance(hook, MMCheckpointHook):
            raise ConfigError(
                "mmengine's CheckpointHook writes checkpoints that no run could go on from: set checkpoint_config, or give "
                'selfsup.hooks.checkpoint_hook.CheckpointHook.'
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
        return ', '.join(type(hook).__name__ for hook in self._hooks)

    # ---- what stands in the work dir ----

    def dump_config(self) -> None:
        """The config as written (merged) and as compiled, in the log folder. The copy in the work dir waits until the run may start."""
        if self.loaded is not None:
            self._write_beside(f'{self._timestamp}/{Path(self.loaded.path).name}', self.loaded.text)
        self._write_beside(f'{self._timestamp}/compiled.json', _json(self.config.compiled))

    def say_what_is_trained(self, protocol: str | None = None) -> None:
        """Write `parameters.json` beside the log: how many parameters of each part are trained and frozen. Refuse another `protocol`."""
        model = unwrap(self.model)
        if protocol:
            check_protocol(protocol, model)
        counts = parameters_by_part(model)
        shown = '; '.join(f'{name} {n["trained"]:,} trained, {n["frozen"]:,} frozen' for name, n in counts.items())
        self.logger.info(f'Parameters: {shown}')
        self._write_beside(f'{self._timestamp}/parameters.json', _json(counts))

    def _write_beside(self, name: str, text: str) -> None:
        """Rank 0 writes a small file into the work dir."""
        if dist.is_main():
            write_beside(Path(self._work_dir) / name, text, self.log_trouble)

    # ---- training ----

    def train(self) -> nn.Module:
        """Train to the end of the run: from the start, from the weights of `load_from`, or on from a checkpoint."""
        with ending_logged(self):
            # Data, loop, optimizer, schedules.
            self.prepare()
            self.call_hook('before_run')
            self.checkpoints.describe()
            # The state of an earlier run, or its weights alone.
            resume_from = self.config.resume_from
            if resume_from:
                self.resume(resume_from)
            elif self._load_from:
                load_model(self.model, self._load_from)
            if self.config.allow_changed and not resume_from:
                self.logger.info('--allow-changed: the work dir holds no checkpoint, so nothing is compared.')
            # Nothing refused the config, so it says what counts; checkpoints of other lines move out of the way.
            if self.loaded is not None:
                self._write_beside(Path(self.loaded.path).name, self.loaded.text)
            dist.on_main(lambda: self.checkpoints.branch.begin(resume_from, self.iter))
            try:
                model = self._run_loop()
                self.call_hook('after_run')
            finally:
                self.checkpoints.close()
            return model

    def prepare(self) -> None:
        """Build what only training needs: data and loop first, as rates and schedules follow from the batch size and the length."""
        config = self.config
        loader = build_loader(
            config.train_dataloader, seed=self.seed, device=self.device, rank=self.rank, world_size=self.world_size
        )
        length = {key: value for key, value in config.train_cfg.items() if key in ('max_epochs', 'max_iters') and value}
        self._train_loop = LOOPS.build({'type': 'TrainLoop', **length}, runner=self, dataloader=loader)
        self.optim_wrapper = build_optim_wrapper(
            config,
            unwrap(self.model),
            images_per_step=self.images_per_step,
            device_type=self.device.type,
            logger=self.logger,
        )
        fsdp.check_run(self.model, self.optim_wrapper, self._hooks)
        self.param_schedulers = build_schedules(config, self.optim_wrapper, self.train_loop)

    def _run_loop(self) -> nn.Module:
        try:
            self.safe_points.begin()
            model = self.train_loop.run()
            self.safe_points.end()
            return model
        except EvaluationGivenUp:
            self.safe_points.stop()
        except RuntimeError as error:
            # Torch's signal handler raises it wherever this process is when a worker of a loader dies.
            explained = explain_worker(str(error))
            if explained is None:
                raise
            raise explained from error
        finally:
            self.train_loop.dataloader.close()

    @property
    def images_per_step(self) -> int:
        """Images of one optimizer step, of all processes."""
        return self.train_loop.dataloader.batch_size * self.world_size * self.config.update_interval

    # ---- checkpoints ----

    @property
    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint of this run, complete, or the one it was resumed from. Waits for one that is being written, on rank 0."""
        return self.checkpoints.newest()

    @property
    def changes(self) -> Changes:
        """What differs from the run that is resumed."""
        return self.checkpoints.changes

    def save_checkpoint(
        self,
        name: str,
        *,
        epoch: int,
        iteration: int,
        keep: int = -1,
        keep_every_hours: float | None = None,
        wait: bool = True,
    ) -> Path:
        """Write `work_dir/name` on rank 0 (atomically), record it and point `latest.pth` at it. All processes call it.

        Args:
            name: file name.
            epoch: epochs finished.
            iteration: iterations finished.
            keep: how many files of this kind (`epoch_` or `iter_`) stay, the newest of those that this run wrote; -1: all.
            keep_every_hours: of older ones, one per that many hours stays too, > 0; None: none.
            wait: False: the state is copied, and a thread writes it while training goes on. Hooks of rank 0 hear of it in
                `after_save_checkpoint(runner, path, iteration)` when it is on the disk; `checkpoints.wait()` waits for it.

        Returns:
            the file, which lies in the emergency folder where the work dir did not take it; with `wait=False`: where it will lie, if
            the work dir takes it.

        Raises:
            CheckpointError: it, or one before it that was written in the background, could be written nowhere; older checkpoints are as
                they were.
            TrainingError: weights are not finite, or not all hooks that follow the iteration have run; nothing is written.
        """
        return self.checkpoints.save(
            name, epoch=epoch, iteration=iteration, keep=keep, keep_every_hours=keep_every_hours, wait=wait
        )

    def save_position(self) -> Path | None:
        """Save the state at a safe point, unless a checkpoint holds it; the file that does, None where nothing was trained."""
        return self.checkpoints.save_position()

    def ask(self, bits: int) -> None:
        """See `Agreement.ask`."""
        self.safe_points.ask(bits)

    def safe_point(self) -> None:
        """See `SafePoints.after_window`."""
        self.checkpoints.collect()
        if self.safe_points.limit is not None:
            self.safe_points.limit.saved(self.checkpoints.took)
        self.safe_points.after_window()

    def may_give_up_evaluation(self) -> None:
        """See `SafePoints.in_evaluation`."""
        # Hooks of others may have put something into the model for it, and would not take it out again.
        ours = all(type(hook).before_val_epoch.__module__.startswith(('mmengine.', 'selfsup.')) for hook in self.hooks)
        if self.train_loop.may_give_up and ours:
            self.safe_points.in_evaluation()

    def resume(self, filename: str, **_: Any) -> None:
        """Continue the run that wrote `filename`, exactly.

        Raises:
            CheckpointError: unreadable, of another model or optimizer, or the run differs in what must be the same.
        """
        self.checkpoints.resume(filename)


def _json(content: dict) -> str:
    return json.dumps(content, indent=1, default=str) + '\n'
