"""What every protocol has around its measurement: a config, processes that share the work, a free place for the result."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import ConfigError
from .options import Options

TYPE_CHECKING = False  # see options.py
if TYPE_CHECKING:
    from typing import Any

    import torch


class Outcome:
    """What a protocol gives back, on rank 0; nothing on the others.

    Attributes:
        lines: to be printed.
        results: what `write_result` wrote.
    """

    def __init__(self, lines: Sequence[str] = (), results: Sequence[dict[str, Any]] = ()) -> None:
        self.lines, self.results = lines, results


def work_dir(compiled: dict[str, Any], config: str, weights: str | None = None) -> Path:
    """Where a protocol writes: the work dir of tools/train.py, then the name of the file of weights. The one rule of all protocols."""
    from ..config import work_dir_of

    return Path(work_dir_of(compiled, config), Path(weights).name if weights else '')


def port_of(options: Options) -> int | None:
    """The port of rank 0, of the options or of the environment.

    Raises:
        ConfigError: PORT is no number.
    """
    port = options.port or os.environ.get('PORT') or None
    if port is not None and not str(port).isdecimal():
        raise ConfigError(f"PORT='{port}' is not a number.")
    return None if port is None else int(port)


class Session:
    """One measurement. The config is read at once; `join` starts the processes, and `shut_down` of `engine.processes.launch` ends them.

    Args:
        options: of the protocol.
        started: when it began, by `time.perf_counter`; None: now.
        data: other images for the config, see `config.load`.

    Attributes:
        compiled: the runner config.
        device: of this process, once it has joined.
        described: the checkpoint of `trained` without its tensors.
    """

    device: torch.device
    described: dict[str, Any]

    def __init__(
        self,
        options: Options,
        started: float | None = None,
        data: Mapping[tuple[str, str], str | None] | None = None,
    ) -> None:
        from ..config import compile_config, load

        self.options, self.started = options, time.perf_counter() if started is None else started
        self.compiled = compile_config(load(options.config, list(options.cfg_options), data))

    @property
    def backend(self) -> str:
        """`pipeline_backend` of the config: how the protocol reads its images."""
        from ..config import backend_of

        return backend_of(self.compiled)

    def join(self) -> torch.device:
        """Join the process group of the launcher; gives the device of this process."""
        from ..engine.processes.launch import init_distributed

        self.device = init_distributed(self.options.launcher, port=port_of(self.options))
        return self.device

    def judged(self, weights: str, whole: bool = False, seed: int = 0) -> Any:
        """The algorithm with weights that are to be judged, see `build_with_weights`, on the device."""
        from ..weights.load import build_with_weights

        return build_with_weights(self.compiled['model'], weights, whole=whole, seed=seed).to(self.device)

    def trained(self, checkpoint: str, average: bool = False) -> Any:
        """The algorithm of a run, which must fit in every tensor, on the device. The file is read once: `meta` is kept."""
        from ..registry import MODELS
        from ..weights.load import load_model
        from ..weights.read import read_checkpoint

        model = MODELS.build(self.compiled['model'])
        content = read_checkpoint(checkpoint)
        load_model(model, checkpoint, strict=True, average=average, checkpoint=content)
        self.described = {key: value for key, value in content.items() if key == 'meta'}
        return model.to(self.device)

    def test_images(self, checkpoint: str) -> tuple[Any, str | None]:
        """Loader of data.val, whose samples the processes share.

        Also one line where its classes cannot be compared with those that `checkpoint`, the file of `trained`, was trained with; None where
        they agree.

        Raises:
            DataError: they are other ones.
        """
        from .. import distributed as dist
        from ..datasets.loaders import build_loader
        from ..evaluation.class_names import check_checkpoint_classes

        section = self.compiled['val_dataloader']
        loader = build_loader(section, seed=0, device=self.device, rank=dist.rank(), world_size=dist.world_size())
        train = (self.compiled['train_dataloader'] or {}).get('dataset')
        return loader, check_checkpoint_classes(self.described, checkpoint, loader.dataset, train)

    def seconds(self) -> float:
        """Since the session began."""
        return time.perf_counter() - self.started

    def write(
        self, path: Path, protocol: str, numbers: Mapping[str, float | None], settings: Mapping[str, Any], **others: Any
    ) -> dict[str, Any]:
        """Write the result; `others` are arguments of `write_result` that the session does not know."""
        from ..evaluation.results.record import write_result

        known = {
            'config': self.options.config,
            'device': self.device,
            'seconds': self.seconds(),
            'merged': self.compiled,
            'backend': self.backend,
        }
        settings = {**settings, 'cfg_options': list(self.options.cfg_options)}
        return write_result(path, protocol=protocol, numbers=numbers, settings=settings, **{**known, **others})
