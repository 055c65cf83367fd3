"""A frozen network that answers what a student should have seen.

Axes: B images, D numbers per vector or position, C, H, W of images, h, w of maps.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ...arguments import Count, NotNegative
from ...errors import ConfigError, ShapeError, TrainingError
from .view import Means, Normalization, Stds, check_lengths, renormalised, resized, side_for

logger = logging.getLogger('selfsup')
IMAGENET = Normalization(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
PROBE = 224  # side of the image that tells the widths, where the network takes any
_WEIGHTY = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # what half precision halves; norms stay in float32


class Answer(NamedTuple):
    """What a teacher makes of images.

    Attributes:
        summary: (B, D), its vector of each image.
        maps: (B, D', h, w), its features at each place; None where it has none.
    """

    summary: Tensor
    maps: Tensor | None


class Teacher:
    """A frozen network, and what a student learns of it. A subclass builds the network and hands it to `start`.

    Args:
        summary: weight of the loss on the vector; 0 leaves it out.
        features: weight of the loss on the map; 0 leaves it out.
        summary_loss: 'cosine' (1 - cos), or 'smooth_l1', which also learns how long the vectors are.
        projection: from the student's features to those of this teacher: 'linear', or 'mlp' (linear, LayerNorm, GELU, linear).
        hid_channels: width of the hidden layer of an 'mlp'; None: that of the teacher.
        size: side in pixels of the images that the teacher sees; None: that of the student's view, at the nearest multiple of the
            teacher's patch, or what the teacher was built for where it takes nothing else.
        mean: of the images that the teacher was trained with, in [0, 1]; None: what its source says, else ImageNet's.
        std: likewise.
        precision: 'auto': bfloat16 on a GPU that computes it, else float16 there; on a CPU bfloat16 within autocast (use_fp16), else
            float32.
        compile: put the network through torch.compile.

    Attributes:
        name: of the network, for logs and checkpoints.
        digest: SHA-256 of its weights.
        licence: of its weights, '' where it is not known.
        summary_channels: D of the vector.
        map_channels: D' of the map, 0 where there is none.
        normalization: of the images that it takes.

    Raises:
        ConfigError: the two weights are 0, or only one of mean and std is given, or they are of other channels.
    """

    name: str
    digest: str
    licence: str
    normalization: Normalization
    summary_channels: int
    map_channels: int

    def __init__(
        self,
        summary: NotNegative = 1.0,
        features: NotNegative = 1.0,
        summary_loss: Literal['cosine', 'smooth_l1'] = 'cosine',
        projection: Literal['linear', 'mlp'] = 'linear',
        hid_channels: Count | None = None,
        size: Count | None = None,
        mean: Means | None = None,
        std: Stds | None = None,
        precision: Literal['auto', 'float32', 'bfloat16', 'float16'] = 'auto',
        compile: bool = False,
    ) -> None:
        if not summary and not features:
            raise ConfigError(
                f'{type(self).__name__} has summary=0 and features=0: nothing is learned of it. Set one above 0, or leave it out.'
            )
        if (mean is None) != (std is None):
            raise ConfigError(f'{type(self).__name__} has mean={mean} and std={std}: give both, or neither.')
        self.summary, self.features, self.summary_loss = summary, features, summary_loss
        self.projection, self.hid_channels, self.size = projection, hid_channels, size
        self.precision, self.compile = precision, compile
        self._given = None if mean is None or std is None else Normalization(mean=mean, std=std)
        if self._given:
            check_lengths(self._given, type(self).__name__)
        self._placed: tuple[Any, ...] = ()
        self._flag: tuple[Tensor, Any] | None = None  # whether an earlier answer was finite, on its way from a GPU
        self._asked = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        """Itself: it never changes, and a copy of a student has the same teacher."""
        return self

    # ---- set up, by subclasses ----

    def start(
        self,
        network: nn.Module,
        *,
        name: str,
        licence: str = '',
        normalization: Normalization = IMAGENET,
        fixed_size: tuple[int, int] | None = None,
        multiple: int = 1,
    ) -> None:
        """Take a network and learn its widths from one image.

        Args:
            network: images (B, C, H, W) -> `Answer`, or a tuple of the same.
            name: see the attributes.
            licence: likewise.
            normalization: what its source says of its images.
            fixed_size: the one (height, width) that it takes; None: any.
            multiple: its sides must be multiples of this.

        Raises:
            ConfigError: `size` is none that the network takes, or it cannot be run.
        """
        self.network = network.eval().requires_grad_(False)
        self.name, self.licence = name, licence
        self.normalization = self._given or normalization
        self._fixed_size, self._multiple = fixed_size, multiple
        if self.size is not None:
            if self.size % multiple or (fixed_size and fixed_size != (self.size, self.size)):
                takes = f'{fixed_size[0]} x {fixed_size[1]} alone' if fixed_size else f'multiples of {multiple}'
                raise ConfigError(f'The teacher {name} takes images of {takes}: size={self.size} does not fit.')
            self._fixed_size = (self.size, self.size)
        self.digest = digest_of(network)
        self.summary_channels, self.map_channels = self._probe()
        if self.compile:
            self.network.compile(dynamic=False)
        logger.info(
            'Teacher %s: SHA-256 of its weights %s, licence of its weights: %s',
            name,
            self.digest,
            licence or 'not known',
        )

    @torch.no_grad()
    def _probe(self) -> tuple[int, int]:
        size = self.size_for(PROBE, PROBE)
        try:
            summary, maps = self.network(torch.zeros(1, len(self.normalization['mean']), *size))
        except (RuntimeError, ValueError, AssertionError, TypeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise ConfigError(
                f'The teacher {self.name} cannot be run on an image of {size[0]} x {size[1]}: {reason}.'
            ) from None
        if self.features and maps is None:
            raise ConfigError(f'The teacher {self.name} has no map to learn from: set features=0.')
        return summary.shape[1], 0 if maps is None else maps.shape[1]

    # ---- asked, by a method ----

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) at which it sees a view of these."""
        if self._fixed_size:
            return self._fixed_size
        return side_for(height, self._multiple), side_for(width, self._multiple)

    @torch.no_grad()
    def __call__(self, img: Tensor, before: Normalization, channels_last: bool = False) -> Answer:
        """Its answer for views, without a gradient, in float32 (float64 for such images).

        Args:
            img: (B, C, H, W), as the student sees them, on any device: the network follows.
            before: what normalised them.
            channels_last: memory format of the network, best that of the student.

        Raises:
            ShapeError: images of other channels than it takes, or than `before` is for.
            TrainingError: an answer (on a GPU perhaps one of a few calls before) is not finite.
        """
        if img.shape[1] != len(self.normalization['mean']):
            raise ShapeError(
                f'The teacher {self.name} takes images of {len(self.normalization["mean"])} channels, these have {img.shape[1]}.'
            )
        if img.shape[1] != len(before['mean']):
            raise ShapeError(f'img_norm_cfg is for {len(before["mean"])} channels, the images have {img.shape[1]}.')
        self._place(img, channels_last)
        with torch.autocast(img.device.type, enabled=False):
            view = resized(renormalised(img, before, self.normalization), self.size_for(*img.shape[-2:]))
        with self._precise(img):
            summary, maps = self.network(view)
        wanted = img.dtype if img.dtype is torch.float64 else torch.float32
        answer = Answer(summary.to(wanted), None if maps is None or not self.features else maps.to(wanted))
        self._check_finite(answer)
        return answer

    def half(self, device: torch.device) -> torch.dtype | None:
        """The type of half precision that it runs in on a device; None for none."""
        if self.precision != 'auto':
            return None if self.precision == 'float32' else getattr(torch, self.precision)
        if device.type == 'cuda':
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None

    @contextlib.contextmanager
    def _precise(self, img: Tensor) -> Iterator[None]:
        half = None if img.dtype is torch.float64 else self.half(img.device)
        with torch.autocast(img.device.type, dtype=half, enabled=half is not None):
            yield

    def _place(self, img: Tensor, channels_last: bool) -> None:
        """The network beside the images. On a GPU its matrices stay in half precision, so that no step has to round them."""
        double = img.dtype is torch.float64
        placed = (img.device, double, channels_last)
        if placed == self._placed:
            return
        before = self._placed[1:2] == (True,)
        self.network.to(img.device, torch.float64 if double else torch.float32 if before else None)
        if channels_last:
            self.network.to(memory_format=torch.channels_last)
        half = self.half(img.device) if img.device.type == 'cuda' and not double else None
        for module in self.network.modules() if half else ():
            if isinstance(module, _WEIGHTY):
                module.to(half)
        self._placed = placed

    def _check_finite(self, answer: Answer) -> None:
        """Raise where an answer is not finite. On a GPU, after the first one, that is told when it is known: nothing waits for it."""
        if self._flag is not None and self._flag[1].query():
            self._refuse(bool(self._flag[0]))
            self._flag = None
        if self._flag is not None:
            return
        finite = answer.summary.isfinite().all()
        if answer.maps is not None:
            finite = finite & answer.maps.isfinite().all()
        if finite.device.type != 'cuda' or not self._asked:
            self._asked = True
            self._refuse(bool(finite))
            return
        told = torch.empty((), dtype=torch.bool, pin_memory=True)
        told.copy_(finite, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._flag = told, event

    def _refuse(self, finite: bool) -> None:
        if finite:
            return
        half = self.half(self._placed[0])
        what = str(half or torch.float32).removeprefix('torch.')
        remedy = (
            f"Set precision='{'bfloat16' if half is torch.float16 else 'float32'}' for it"
            if half
            else 'Look at its weights and at mean and std'
        )
        raise TrainingError(f'The teacher {self.name} gives numbers that are NaN or infinite in {what}. {remedy}.')


def digest_of(network: nn.Module) -> str:
    """SHA-256 of names, shapes and numbers of the weights and buffers of a network."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f'{name} {tuple(value.shape)} {value.dtype}\n'.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
