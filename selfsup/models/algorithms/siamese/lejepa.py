"""LeJEPA: agreement of views, and embeddings that are distributed as a standard normal.

Balestriero and LeCun 2025, arXiv:2511.08544: SIGReg (section 4), the loss and its multi-crop form (section 5).

Axes: B images per process, V views, D numbers per projection, S slices, T points of the grid.

Difference from the official code: the grid of the test statistic has the precision of the projections, there float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from .... import distributed
from ....arguments import Count, Positive, Share
from ....contracts import Progress
from ....registry import BACKBONES, MODELS, NECKS
from ...layers.functional import full_precision, l2_normalize
from ..base import Algorithm, Backbone, Neck, Step, build_part
from ..views import pooled_views


def draw_slices(seed: int, dim: int, number: int) -> Tensor:
    """(D, S) float32 columns of unit length, drawn from `seed` alone, on the CPU: the same on every process and device."""
    drawn = torch.randn(dim, number, generator=torch.Generator().manual_seed(seed))
    return drawn / drawn.norm(dim=0)


def sigreg(x: Tensor, slices: Tensor, knots: int = 17, t_max: float = 3.0) -> Tensor:
    """Distance of each slice of `x` from a standard normal: the test of Epps and Pulley on characteristic functions.

    N times the integral over t in [-t_max, t_max] of |mean_n exp(i t u_n) - exp(-t^2 / 2)|^2 exp(-t^2 / 2), by the trapezoid rule, where
    u are the projections on a slice and N counts the rows of all processes. Means run over all processes, with gradient, so that two
    processes give what one does on the joined batch. About 1.05 for samples of the standard normal itself, whatever N; 0.4 N for zeros.

    Args:
        x: (..., N, D), as many rows on every process; float32 or float64.
        slices: (D, S) columns of unit length, the same on every process.
        knots: points of the grid, >= 2.
        t_max: its end, > 0.

    Returns:
        (..., S).
    """
    with torch.autocast(x.device.type, enabled=False):
        t = torch.linspace(0, t_max, knots, dtype=x.dtype, device=x.device)
        normal = (-t.square() / 2).exp()  # characteristic function of the standard normal, and the weight
        weights = torch.full_like(t, 2 * t_max / (knots - 1))  # both halves of the even integrand
        weights[0] = weights[-1] = t_max / (knots - 1)
        angles = (x @ slices.to(x)).unsqueeze(-1) * t  # (..., N, S, T)
        means = torch.stack([angles.cos().mean(dim=-3), angles.sin().mean(dim=-3)])  # (2, ..., S, T)
        means = distributed.mean_with_gradient(means)
        error = (means[0] - normal).square() + means[1].square()
        return (error * normal * weights).sum(dim=-1) * (x.shape[-2] * distributed.world_size())


def invariance(z: Tensor, centre_views: int) -> Tensor:
    """Mean squared distance of the projections (V, N, D) from the mean over the first `centre_views` views of their image."""
    return (z - z[:centre_views].mean(dim=0)).square().mean()


@MODELS.register_module()
class LeJEPA(Algorithm):
    """Views agree with their mean while random slices of the projections look standard normal. No teacher, no stop-gradient.

    Args:
        backbone: config of a backbone, or a module.
        neck: config of the projection, an `MLPNeck` without a norm at its end.
        sigreg_weight: lambda, in [0, 1]: lambda * SIGReg + (1 - lambda) * invariance; 0.02 to 0.05. SIGReg grows with the global batch.
        num_slices: S, drawn anew for each step.
        knots: points of the grid of the test.
        t_max: end of that grid.
        centre: 'global' pulls all views to the mean of those of the first size (the paper's multi-crop form), 'all' to the mean of all.
    """

    dataset = 'MultiViewDataset'
    step: Tensor  # () int64, optimizer steps done: what the slices are drawn from

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        sigreg_weight: Share = 0.05,
        num_slices: Count = 1024,
        knots: Annotated[int, Ge(2)] = 17,
        t_max: Positive = 3.0,
        centre: Literal['all', 'global'] = 'global',
    ) -> None:
        super().__init__()
        self.backbone, self.neck = build_part(BACKBONES, backbone), build_part(NECKS, neck)
        self.sigreg_weight, self.centre = sigreg_weight, centre
        self.num_slices, self.knots, self.t_max = num_slices, knots, t_max
        self.register_buffer('step', torch.zeros((), dtype=torch.long))

    def loss(self, img: Tensor | Sequence[Tensor]) -> Step:
        """Both terms; SIGReg per view, averaged over views and slices.

        Args:
            img: (B, V, C, H, W), or a list of such, one per size of views.

        Raises:
            ShapeError: there is one view only, which always agrees with itself.
        """
        groups = self.view_groups(img, least=2)
        features = pooled_views(self.backbone, groups)
        z = full_precision(self.neck(features.flatten(0, 1))).unflatten(0, features.shape[:2])  # (V, B, D)
        slices = draw_slices(int(self.step), z.shape[2], self.num_slices)
        normality = sigreg(z, slices, self.knots, self.t_max).mean()
        agreement = invariance(z, len(z) if self.centre == 'all' else groups[0].shape[1])
        loss = self.sigreg_weight * normality + (1 - self.sigreg_weight) * agreement
        logs = {'sigreg': normality.detach(), 'invariance': agreement.detach()}
        return Step({'loss': loss}, logs, embedding=l2_normalize(z[0].detach()))

    @torch.no_grad()
    def after_update(self, carries: Sequence[dict[str, Tensor]], progress: Progress) -> None:
        """The next step draws other slices."""
        self.step += 1
