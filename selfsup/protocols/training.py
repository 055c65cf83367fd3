"""Train what a config describes. One process: python tools/train.py CFG; several: bash tools/dist_train.sh CFG GPUS."""

from __future__ import annotations

from collections.abc import Sequence

from .. import cli
from ..errors import ConfigError
from . import options

TYPE_CHECKING = False  # see options.py
if TYPE_CHECKING:
    from typing import Any

    from ..config import LoadedConfig
    from ..engine import Runner
    from . import base


class Options(options.Options):
    """See the `help` of each field."""

    work_dir: str | None = options.option(
        None, '--work_dir', help='where logs and checkpoints go (default: work_dirs/ + path of the config)'
    )
    data: str | None = options.option(None, add=cli.add_data)
    resume_from: str | None = options.option(
        None,
        '--resume_from',
        at_most_one='start',
        metavar='CKPT',
        help='continue the run that wrote this checkpoint, exactly',
    )
    auto_resume: bool = options.option(
        False,
        '--auto_resume',
        at_most_one='start',
        help='continue from the newest readable checkpoint of the work dir, if any',
    )
    start_over: bool = options.option(
        False,
        '--start_over',
        at_most_one='start',
        help='begin anew in a work dir with checkpoints (they move to a subfolder)',
    )
    allow_changed: Sequence[str] = options.option(
        (),
        nargs='+',
        metavar='KEY',
        help='when resuming: settings whose '
        'new values may count, such as optimizer.weight_decay; a key allows all below it; data allows other images',
    )
    elastic: bool = options.option(
        False,
        help='when resuming: go on with another number of processes, imgs_per_gpu or update_interval, which is not bit-equal',
    )
    pretrained: str | None = options.option(None, metavar='CKPT', help='weights to start the backbone from')
    emergency_dir: str | None = options.option(
        None,
        '--emergency_dir',
        metavar='DIR',
        help='where checkpoints go that the work dir does not take (disk full, removed)',
    )
    time_limit: str | None = options.option(
        None,
        '--time_limit',
        metavar='TIME',
        help="save and end before this time is over, counted from the start; Slurm's forms: minutes, MM:SS, HH:MM:SS, D-HH, ... "
        '(default: that of the Slurm job, if any)',
    )
    seed: int | None = options.option(
        None, type=int, help='run seed (default: 0; when resuming, that of the checkpoint)'
    )
    must_validate: bool = options.option(
        False, '--must_validate', help='refuse a config without a ValidateHook (the protocol scripts do)'
    )
    protocol: str | None = options.option(
        None,
        choices=('linear', 'semi', 'finetune'),
        help='refuse a run that is not what this name says: linear freezes the backbone, the others train it',
    )
    deterministic: bool = options.option(False, help='deterministic GPU kernels: needed for bit-equal GPU runs, slower')
    local_rank: int | None = options.option(
        None, '--local_rank', '--local-rank', type=int, help='accepted for old launch scripts'
    )
    gpus: int | None = options.option(
        None, type=int, help='accepted for old command lines; processes are counted by the launcher'
    )


def read(asked: Options) -> tuple[LoadedConfig, dict[str, Any]]:
    """The config, and the runner config with what the options add to it.

    Raises:
        ConfigError: a mistake in the config; or `must_validate`, and it measures no accuracy.
    """
    from ..config import compile_config, load, work_dir_of
    from ..registry import HOOKS
    from . import base

    port = base.port_of(asked)
    loaded = load(asked.config, list(asked.cfg_options), {('--data', 'train'): asked.data})
    compiled = compile_config(loaded)
    if asked.must_validate and not any(
        issubclass(HOOKS.get(hook['type']), HOOKS.get('ValidateHook')) for hook in compiled['custom_hooks']
    ):
        raise ConfigError(
            f'{asked.config} measures no accuracy, so its run would have no result: add a ValidateHook to custom_hooks.'
        )
    names = ('work_dir', 'resume_from', 'pretrained', 'seed')
    compiled.update({name: getattr(asked, name) for name in names if getattr(asked, name) is not None})
    compiled['deterministic'] = asked.deterministic
    compiled['work_dir'] = work_dir_of(compiled, asked.config)
    if port is not None:
        compiled['env_cfg'].setdefault('dist_cfg', {})['port'] = port
    return loaded, compiled


def train(asked: Options, loaded: LoadedConfig, compiled: dict[str, Any]) -> Runner:
    """The run of a config that was `read`; gives it back when it has ended.

    Raises:
        SelfSupError: what the user can mend.
    """
    from .. import engine

    return engine.train(
        compiled,
        loaded,
        launcher=asked.launcher,
        auto_resume=asked.auto_resume,
        start_over=asked.start_over,
        allow_changed=asked.allow_changed,
        elastic=asked.elastic,
        emergency_dir=asked.emergency_dir,
        protocol=asked.protocol,
        limit=asked.time_limit,
    )


def run(asked: Options) -> base.Outcome:
    """Train. The run writes its own logs and checkpoints."""
    from . import base

    train(asked, *read(asked))
    return base.Outcome()
