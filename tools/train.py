"""Train what a config describes. One process: python tools/train.py CFG; several: bash tools/dist_train.sh CFG GPUS."""

from __future__ import annotations

import argparse
import os

from selfsup import cli
from selfsup.errors import ConfigError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work_dir', help='where logs and checkpoints go (default: work_dirs/ + path of the config)')
    start = parser.add_mutually_exclusive_group()
    start.add_argument('--resume_from', metavar='CKPT', help='continue the run that wrote this checkpoint, exactly')
    start.add_argument(
        '--auto_resume', action='store_true', help='go on from the newest good checkpoint of the work dir'
    )
    start.add_argument('--start_over', action='store_true', help='begin anew; old checkpoints move to a subfolder')
    allowed = (
        'when resuming: settings whose new values may count, such as optimizer.weight_decay; a key allows all below it'
    )
    parser.add_argument('--allow-changed', nargs='+', default=[], metavar='KEY', help=f'{allowed}; data: other images')
    parser.add_argument('--pretrained', metavar='CKPT', help='weights to start the backbone from')
    full = 'where checkpoints go that the work dir does not take (disk full, removed)'
    parser.add_argument('--emergency_dir', metavar='DIR', help=full)
    parser.add_argument('--seed', type=int, help='run seed (default: 0; when resuming, that of the checkpoint)')
    parser.add_argument('--must_validate', action='store_true', help='refuse a config without a ValidateHook')
    kinds = 'refuse a run that is not what this name says: linear freezes the backbone, the others train it'
    parser.add_argument('--protocol', choices=('linear', 'semi', 'finetune'), help=kinds)
    parser.add_argument('--deterministic', action='store_true', help='GPU kernels for bit-equal runs, slower')
    cli.add_launcher(parser)
    parser.add_argument('--local_rank', '--local-rank', type=int, help='accepted for old launch scripts')
    parser.add_argument('--gpus', type=int, help='accepted for old command lines; the launcher counts the processes')
    cli.add_cfg_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from selfsup import config  # after the arguments: --help must not wait for torch
    from selfsup.registry import HOOKS

    loaded = config.load(args.config, args.cfg_options)
    compiled = config.compile_config(loaded)
    if args.must_validate and not any(
        issubclass(HOOKS.get(hook['type']), HOOKS.get('ValidateHook')) for hook in compiled['custom_hooks']
    ):
        raise ConfigError(
            f'{args.config} measures no accuracy, so its run would have no result: add a ValidateHook to custom_hooks.'
        )
    asked = {name: getattr(args, name) for name in ('work_dir', 'resume_from', 'pretrained', 'seed')}
    compiled.update({name: value for name, value in asked.items() if value is not None})
    compiled.update(deterministic=args.deterministic, work_dir=config.work_dir_of(compiled, args.config))
    port = args.port or os.environ.get('PORT')
    if port:
        if not str(port).isdecimal():
            raise ConfigError(f"PORT='{port}' is not a number.")
        compiled['env_cfg'].setdefault('dist_cfg', {})['port'] = int(port)

    from selfsup import engine

    engine.train(
        compiled,
        loaded,
        launcher=args.launcher,
        auto_resume=args.auto_resume,
        start_over=args.start_over,
        allow_changed=args.allow_changed,
        emergency_dir=args.emergency_dir,
        protocol=args.protocol,
    )


if __name__ == '__main__':
    cli.run(main)
