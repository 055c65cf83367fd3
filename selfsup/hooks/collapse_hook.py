"""Watch the embeddings of every method for collapse: numbers that tell a collapsed representation from a healthy one."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, TypedDict

import torch
import torch.nn.functional as F
from annotated_types import Ge
from mmengine.hooks import Hook
from torch import Tensor

from .. import distributed as dist
from ..arguments import Count, Share
from ..engine import Run
from ..errors import SelfSupWarning, ShapeError
from ..evaluation.effective_rank import rankme, rankme_name
from ..heartbeat import awaiting
from ..registry import HOOKS
from .lidar import LiDAR, LiDARMeasure


@torch.no_grad()
def collapse_statistics(embedding: Tensor) -> dict[str, float]:
    """Spread and effective rank of a batch of embeddings.

    `std` is the standard deviation of each dimension of the L2-normalised embeddings, averaged over dimensions, times
    sqrt(D) (Chen and He, arXiv:2011.10566, figure 2): 1 for directions spread evenly, 0 when all are the same.

    `effective_rank` is exp(entropy of p), p = singular values / their sum, as RankMe (Garrido et al., arXiv:2210.02885,
    equation 1), here of the CENTRED embeddings, so that a common offset does not hide a collapse: in [1, min(B - 1, D)].
    Singular values below rounding error count as 0, so that equal embeddings have rank 1 and not that of the noise.

    Args:
        embedding: (B, D), B >= 2, any float type; computed in float32, also under autocast.

    Returns:
        `dict(std=..., effective_rank=...)`, NaN where an embedding is not finite.

    Raises:
        ShapeError: not (B, D) with B >= 2.
    """
    if embedding.ndim != 2 or len(embedding) < 2:
        raise ShapeError(f'Embeddings of shape {tuple(embedding.shape)}; expected (B, D) with B >= 2.')
    with torch.autocast(embedding.device.type, enabled=False):
        x = embedding.detach().float()
        if not bool(torch.isfinite(x).all()):
            return {'std': float('nan'), 'effective_rank': float('nan')}
        std = F.normalize(x, dim=1).std(0, correction=0).mean() * x.shape[1] ** 0.5
        singular = torch.linalg.svdvals(x - x.mean(0))
        noise = torch.finfo(x.dtype).eps * max(x.shape) * x.norm()
        share = singular.where(singular > noise, torch.zeros_like(singular))
        share = share / share.sum().clamp(min=torch.finfo(x.dtype).tiny)
        rank = torch.special.entr(share).sum().exp()
    return {'std': float(std), 'effective_rank': float(rank)}


class RankMe(TypedDict, total=False):
    """What `CollapseHook(rankme=...)` takes.

    Attributes:
        images: N, embeddings of all processes that one number is of (2048).
    """

    images: Annotated[int, Ge(2)]


class _Window:
    """Embeddings of steps in a row, until there are N of them on all processes together.

    Args:
        images: N.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self._rows: list[Tensor] = []

    def add(self, embedding: Tensor) -> float | None:
        """RankMe of the last N embeddings once they are there, and the window begins anew; None before. A collective then."""
        self._rows.append(embedding.detach().float())
        if sum(map(len, self._rows)) * dist.world_size() < self.images:
            return None
        rows, self._rows = torch.cat(self._rows), []
        with awaiting():
            rows = dist.gather_no_grad(rows)
        return rankme(rows[: self.images])


@HOOKS.register_module()
class CollapseHook(Hook):
    """Logs the spread of `Step.embedding` and warns when it vanishes.

    `embedding_std`: mean per-dimension standard deviation of the L2-normalised embeddings times sqrt(D); 1 when they
    point everywhere, 0 when all are the same. `embedding_rank`: effective rank, at most min(batch, D).

    With `rankme`, `embedding_rankme_n{N}` in the log: RankMe (arXiv:2210.02885) of N embeddings of training steps in a row, at most
    min(N, D). The weights move a little among them; a resumed run begins a new window. With `lidar`, `lidar_n{n}_q{q}` after epochs: LiDAR
    (arXiv:2312.04000) of the backbone's pooled features of q views of n images. Numbers of other N, n or q cannot be compared.

    Args:
        interval: iterations between two measurements, >= 1.
        min_std: below it a warning is given, in [0, 1].
        min_rank: below this effective rank a warning is given, >= 1.
        rankme: dict(images=N); None: it is not measured.
        lidar: dict(dataset=..., images=n, views=q, interval=epochs), see `LiDAR`; None: it is not measured.
    """

    only_watches = True  # a resume with other arguments, or without it, ends in the same weights
    priority = 'HIGH'  # before the log is written

    def __init__(
        self,
        interval: Count = 10,
        min_std: Share = 0.05,
        min_rank: Annotated[float, Ge(1)] = 1.5,
        rankme: RankMe | None = None,
        lidar: LiDAR | None = None,
    ) -> None:
        self.interval, self.min_std, self.min_rank = interval, min_std, min_rank
        self._warned = False
        self._window = None if rankme is None else _Window(rankme.get('images', 2048))
        self._lidar = None if lidar is None else LiDARMeasure(**lidar)

    def before_train(self, runner: Run) -> None:
        if self._lidar is not None:
            self._lidar.before_train(runner)

    def after_train_epoch(self, runner: Run) -> None:
        if self._lidar is not None:
            self._lidar.after_train_epoch(runner)

    def before_save_checkpoint(self, runner: Run, checkpoint: dict) -> None:
        if self._lidar is not None:
            self._lidar.before_save_checkpoint(runner, checkpoint)

    def after_load_checkpoint(self, runner: Run, checkpoint: dict) -> None:
        if self._lidar is not None:
            self._lidar.after_load_checkpoint(runner, checkpoint)

    def after_train_iter(self, runner: Run, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if outputs is None or outputs.embedding is None or len(outputs.embedding) < 2:
            return
        if self._window is not None and (value := self._window.add(outputs.embedding)) is not None:
            runner.message_hub.update_scalar(f'train/embedding_{rankme_name(self._window.images)}', value)
        if (runner.iter + 1) % self.interval == 0 or runner.iter == 0:
            self._measure(runner, outputs.embedding)

    def _measure(self, runner: Run, embedding: Tensor) -> None:
        statistics = collapse_statistics(embedding)
        std, rank = statistics['std'], statistics['effective_rank']
        runner.message_hub.update_scalar('train/embedding_std', std)
        runner.message_hub.update_scalar('train/embedding_rank', rank)
        if not self._warned and (std < self.min_std or rank < self.min_rank):
            self._warned = True
            warnings.warn(
                f'The embeddings collapse: at iteration {runner.iter + 1} their std is {std:.3f} (1 = spread out, 0 = all equal) '
                f'and their effective rank {rank:.1f}. Check the learning rate, the temperature and the views '
                '(tools/show_views.py).',
                SelfSupWarning,
                stacklevel=2,
            )
