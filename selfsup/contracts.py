"""What one room may ask of the objects of another: protocols to be asked for with `isinstance`.

Nothing has to name a protocol to fit it: a method, a memory or a data set of one's own fits by having what is listed. `isinstance` looks
at the methods; attributes under `TYPE_CHECKING` are there too, but modules keep submodules and buffers where `isinstance` does not look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from torch import Tensor, nn


@runtime_checkable
class ChecksData(Protocol):
    """A method that says whether it can be trained on the data, before the first step; every `Algorithm` is one."""

    def check_data(self, images: int, batches: Sequence[int]) -> None:
        """Refuse a number of images, or numbers of images in the batches of all processes together."""

    def check_classes(self, classes: int | None) -> None:
        """Refuse images of more classes than the method knows; None where they have no labels."""

    def trial(self, batch: dict[str, Tensor]) -> None:
        """Run every layer that training runs."""


@runtime_checkable
class ChecksChannels(Protocol):
    """A method that says how many channels its images have; every `Algorithm` is one."""

    def image_channels(self) -> int | None:
        """Of the images that its backbone takes; None where it sees something made of any images."""

    def check_channels(self, channels: int | None) -> None:
        """Refuse images of another number of channels; None where that is not known."""


@runtime_checkable
class ChecksNormalization(Protocol):
    """A method that was told how its images are normalised (`Distill`)."""

    def check_normalization(self, found: Sequence[tuple[Sequence[float], Sequence[float]]]) -> None:
        """Refuse other values than it was told; `found` has mean and std, for images in [0, 1], of each different normalisation."""


@runtime_checkable
class LearnsFromFrozen(Protocol):
    """A method that learns from networks which no checkpoint holds (`Distill`): a run goes on with the same ones only."""

    def frozen_networks(self) -> list[str]:
        """Name and SHA-256 of the weights of each, in order."""


@dataclass(frozen=True)
class Views:
    """What the images of a training are, for what is kept of them from run to run.

    Args:
        images: N, that `idx` counts.
        digest: of the images and of what their pipeline does; equal for equal views.
        random: names of the steps that may draw at random, or of which that is not known.
    """

    images: int
    digest: str
    random: tuple[str, ...]


@runtime_checkable
class KeepsAnswers(Protocol):
    """A method that keeps something per view on disk (`Distill`)."""

    def use_views(self, describe: Callable[[], Views]) -> None:
        """Called before the first step. `describe` looks at all images, so only who keeps something calls it."""


@runtime_checkable
class GivesRoom(Protocol):
    """A destination of `state_dict(destination=...)` that says where a table is to be put together, see `ShardedRows`."""

    def room(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Memory for the entry `name`, on the CPU."""


@runtime_checkable
class StartsFrom(Protocol):
    """A neck or head that can be given the initial weights that a method asks for."""

    def init_weights(self, init_linear: str) -> None:
        """Draw the weights anew, 'normal' or 'kaiming'."""


@runtime_checkable
class PseudoLabelled(Protocol):
    """A method that learns labels which clustering gives to the images (DeepCluster, ODC). `DeepClusterHook` clusters for it."""

    if TYPE_CHECKING:

        @property
        def head(self) -> ClassifierHead:
            """The classifier of the clusters."""

    def embed(self, img: Tensor) -> Tensor:
        """(B, D): what is clustered, of images (B, C, H, W)."""

    def set_reweight(self, labels: Tensor, reweight_pow: float = 0.5) -> None:
        """Weight the loss of each cluster by its number of `labels` (N,) to the power `-reweight_pow`."""


@runtime_checkable
class ClassifierHead(Protocol):
    """A head whose classes can be numbered anew."""

    if TYPE_CHECKING:
        num_classes: int

        def parameters(self) -> Sequence[nn.Parameter]:
            """The weights."""

    def reset(self) -> None:
        """Draw the weights anew."""


@runtime_checkable
class ClusterMemory(Protocol):
    """A feature and a label for every image, a centroid for every cluster (`ODCMemory`). `ODCHook` keeps it in order."""

    if TYPE_CHECKING:
        num_classes: int
        label_bank: Tensor  # (N,) int64, the cluster of each image

    def init_memory(self, features: Tensor | None, labels: Tensor) -> None:
        """Start from a clustering: `features` (N, D) on process 0, `labels` (N,)."""

    def update_centroids(self) -> None:
        """Centroids become the means of their images' features."""

    def deal_with_small_clusters(self) -> None:
        """Dissolve small clusters and split large ones."""


@runtime_checkable
class MovingTarget(Protocol):
    """A method with a target network whose momentum rises to `end_momentum` (BYOL). `BYOLHook` sets that."""

    end_momentum: float


@runtime_checkable
class Reconstructing(Protocol):
    """A masked autoencoder that can show what it predicts (SparK, FCMAE). `ReconstructionHook` draws it."""

    if TYPE_CHECKING:
        masking: BlockDraw
        head: Any

    def predict_patches(self, img: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted patches (B, h, w, P) and the last map, of images and their visible blocks (B, fh, fw) bool."""

    def reconstruct(self, img: Tensor, visible: Tensor) -> Tensor:
        """Pictures: `img` where visible, the prediction elsewhere."""


@runtime_checkable
class PredictsMaps(Protocol):
    """A method that predicts a network's map of hidden blocks (CNN-JEPA); its backbone is handed maps with hidden blocks."""

    def predict_map(self, img: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted map (B, D, h, w) and what it is made of, of images and their visible blocks (B, fh, fw) bool."""


class BlockDraw(Protocol):
    """What draws the visible blocks of images (`BlockMasking`)."""

    def draw(self, img: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(B, fh, fw) bool, True where visible."""


@runtime_checkable
class TakesLabels(Protocol):
    """A data set whose labels come from clustering (`DeepClusterDataset`)."""

    def assign_labels(self, labels: Any) -> None:
        """`labels` (N,) int64 from now on."""


@runtime_checkable
class CutsAnywhere(Protocol):
    """A sampler whose epoch can be cut into batches from any of its samples on (`EpochSampler`)."""

    if TYPE_CHECKING:
        samples: int  # of an epoch, before it is padded or its end is left out
        recuts: bool  # the order of an epoch is the same for any batch

        @property
        def global_batch(self) -> int:
            """Samples of an iteration, of all processes."""

    def batches_left(self, start: int) -> int:
        """Batches of an epoch that is cut anew after its first `start` samples."""

    def batches_of(self, global_batch: int) -> int:
        """Batches of a whole epoch in batches of that many samples of all processes."""


@runtime_checkable
class SamplesUniformly(Protocol):
    """A sampler that can draw from all clusters alike (`EpochSampler`)."""

    def set_uniform_indices(self, labels: Any, num_classes: int) -> None:
        """Draw as many samples of each of the `num_classes` labels (N,)."""


class Progress(float):
    """Share of the training that is done, iteration / iterations, in [0, 1], and where that is.

    Args:
        iteration: of the step that was just made, counted in micro-batches from 0.
        iterations: of the whole training.
        iters_per_epoch: batches of an epoch.
    """

    def __new__(cls, iteration: int, iterations: int, iters_per_epoch: int) -> Progress:
        made = super().__new__(cls, iteration / iterations)
        made.iteration, made.iterations, made.iters_per_epoch = iteration, iterations, iters_per_epoch
        return made

    iteration: int
    iterations: int
    iters_per_epoch: int

    @property
    def epoch(self) -> int:
        """Whole epochs that are done, from 0."""
        return self.iteration // self.iters_per_epoch

    @property
    def epochs(self) -> int:
        """Of the whole training; a part of one counts as one."""
        return -(-self.iterations // self.iters_per_epoch)

    @property
    def next(self) -> Progress:
        """At the iteration that follows, for what its forward pass reads; after the last one 1."""
        return Progress(self.iteration + 1, self.iterations, self.iters_per_epoch)
