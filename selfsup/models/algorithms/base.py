"""What every algorithm is: the contract between a method and everything that trains, evaluates and exports it.

Axes: B images per process, V views, C channels, H and W pixels, D numbers per embedding.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, cast

from torch import Tensor, nn

from ...arguments import Part
from ...contracts import Progress, StartsFrom
from ...errors import ConfigError, ShapeError, did_you_mean
from ...registry import BACKBONES, HEADS, MEMORIES, NECKS, Registry
from ..layers.image_channels import image_channels, stated_channels
from ..layers.pooling import global_average
from ..layers.sobel import Sobel

# Parts of a model as the arguments of a method: a config, or a module.
Backbone = Annotated[dict | nn.Module, Part(BACKBONES)]
Neck = Annotated[dict | nn.Module, Part(NECKS)]
Head = Annotated[dict | nn.Module, Part(HEADS)]
Memory = Annotated[dict | nn.Module, Part(MEMORIES)]


@dataclass(frozen=True)
class Step:
    """What one forward pass of training gives.

    Args:
        losses: scalars with a gradient; training minimises their sum.
        logs: detached scalars to log (percentages carry no unit in their name: `acc` is in percent).
        embedding: (B, D) detached float, watched for collapse; None where there is none.
        carry: detached tensors that `after_update` will need.
    """

    losses: dict[str, Tensor]
    logs: dict[str, Tensor] = field(default_factory=dict)
    embedding: Tensor | None = None
    carry: dict[str, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """Sum of the losses."""
        return cast(Tensor, sum(self.losses.values()))  # 0 without losses, which `Algorithm` refuses


def build_part(registry: Registry, part: dict | nn.Module) -> Any:
    """A module from its config; a module is returned as it is."""
    return part if isinstance(part, nn.Module) else registry.build(part)


def init_neck(part: nn.Module, init_linear: str, **settings: float) -> None:
    """Give a neck or head the initial weights that a method asks for, if it is one of ours (a plain module keeps its own).

    Args:
        part: the neck or head.
        init_linear: 'normal' or 'kaiming', for its linear layers.
        settings: further arguments of its `init_weights`.
    """
    if isinstance(part, StartsFrom):
        part.init_weights(init_linear, **settings)


def refuse_classes(what: str, classes: int | None, owner: Any, name: str = 'model.head') -> None:
    """Raise a ShapeError where `what` has more classes than `owner.num_classes`; `name` is that of `owner` in a config."""
    known = getattr(owner, 'num_classes', None)
    if classes is not None and known is not None and classes > known:
        raise ShapeError(
            f'The {what} have {classes} classes, but {name}.num_classes={known}: set it to {classes} or more.'
        )


def refuse_lonely_images(does: str, images: int, batches: Sequence[int]) -> None:
    """Raise a ConfigError where a batch of all processes together holds one image, for methods that compare images of a batch.

    Args:
        does: the method and what it does with the images, to begin the message.
        images: N, in the training set.
        batches: as `Algorithm.check_data` gets them.
    """
    if min(batches) > 1:
        return
    last = max(batches) > 1
    remedy = 'set data.drop_last=True, or another data.imgs_per_gpu' if last else 'set data.imgs_per_gpu to 2 or more'
    raise ConfigError(
        f'{does}, but {"the last" if last else "a"} batch of all processes together holds 1 image ({images} in all): {remedy}.'
    )


def form_of(img: Tensor | Sequence[Tensor]) -> str:
    """Shape of images or views; of views of several sizes all shapes."""
    if isinstance(img, Tensor):
        return str(tuple(img.shape))
    shapes = list(dict.fromkeys(str(tuple(one.shape)) for one in img))
    return f'a list of {len(img)} tensors, {" and ".join([*shapes[:3], *(["..."] if len(shapes) > 3 else [])])}'


class Algorithm(nn.Module):
    """Base of all methods. A subclass defines `loss` and, where it keeps state, `after_update`; `self.backbone` always exists.

    The argument names of `loss` are the keys of the batch that the method reads.
    """

    backbone: nn.Module
    neck: nn.Module  # where there is one
    dataset = ''  # name of the dataset class that gives what `loss` reads, for messages
    momentum_copies: tuple[tuple[str, str], ...] = ()  # (part, the part that follows it as a moving average)

    def __init__(self) -> None:
        super().__init__()
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        parameters = [p for p in inspect.signature(self.loss).parameters.values() if p.kind in named]
        self._reads = tuple(p.name for p in parameters)
        self._needs = tuple(p.name for p in parameters if p.default is p.empty)

    def _checked(self, step: Any) -> Step:
        """`step`, if it is what `loss` must return; a method of a user's own may return anything."""
        name = type(self).__name__
        if not isinstance(step, Step) or not step.losses:
            raise ConfigError(
                f'{name}.loss returned a {type(step).__name__}{" without losses" if isinstance(step, Step) else ""}; it must '
                "return Step({'loss': ...}), see docs/new_method.md."
            )
        return step

    def forward(
        self, batch: dict[str, Any], mode: str = 'loss'
    ) -> Step | dict[str, Tensor] | list[dict[str, Tensor]] | tuple[Tensor, ...]:
        """What DDP wraps: `loss(**batch)`, `predict(img)` or `extract(img)`.

        Args:
            batch: tensors, or lists of them, on the device of the model.
            mode: 'loss', 'test' or 'extract'.

        Raises:
            ConfigError: the batch does not have the keys that the method reads, or there is no such mode.
            ShapeError: the images have a shape that the method cannot use.
        """
        if mode == 'loss':
            if not set(self._needs) <= set(batch) <= set(self._reads):
                raise ConfigError(
                    f'{type(self).__name__} reads {", ".join(self._reads)}; the dataset gives {", ".join(batch)}: '
                    f'use {self.dataset}.'
                )
            return self._checked(self.loss(**batch))
        if mode in ('test', 'extract'):
            if 'img' not in batch:
                raise ConfigError(f"mode='{mode}' reads img; the dataset gives {', '.join(batch)}: use ExtractDataset.")
            return self.predict(batch['img']) if mode == 'test' else self.extract(batch['img'])
        raise ConfigError(f"There is no mode='{mode}'.{did_you_mean(mode, ('loss', 'test', 'extract'))}")

    def loss(self, img: Tensor, *args: Any, **labels: Any) -> Step:
        """Losses of a batch. Pure: it changes nothing but running statistics of batch norms."""
        raise NotImplementedError(f'{type(self).__name__} has no loss')

    def after_update(self, carries: Sequence[dict[str, Tensor]], progress: Progress) -> None:
        """Move the state that follows the optimizer. Called once per optimizer step, after it.

        Args:
            carries: `Step.carry` of every micro-batch of the step, in order.
            progress: iteration / iterations as a float, in [0, 1), which also knows its epoch, see `Progress`.
        """

    def check_classes(self, classes: int | None) -> None:
        """Refuse images of more classes than the head has: on a GPU such a label ends in an assert of the device that names nothing.

        For methods that read the labels of the images: the head of a pretext task has classes of its own. Called as `check_data` is.

        Args:
            classes: of the training images; None where they have no labels.

        Raises:
            ShapeError: there are more than `head.num_classes`; the message names the number to set.
        """
        if 'gt_label' in self._reads:
            refuse_classes('training images', classes, getattr(self, 'head', None))

    def image_channels(self) -> int | None:
        """Channels of the images that the backbone takes; None where it sees their edges, which any images have.

        Raises:
            ConfigError: see `layers.image_channels`.
        """
        return None if isinstance(getattr(self, 'sobel', None), Sobel) else image_channels(self.backbone)

    def check_channels(self, channels: int | None) -> None:
        """Refuse images of another number of channels than the backbone says it takes. Called as `check_data` is.

        Args:
            channels: of the training images; None where they are not known.

        Raises:
            ShapeError: they differ; the message names the setting.
        """
        taken = self.image_channels() and stated_channels(self.backbone)
        if None not in (channels, taken) and channels != taken:
            raise ShapeError(
                f'The training images have {channels} {"channel" if channels == 1 else "channels"}, but the backbone takes {taken}: '
                f'set model.backbone.in_channels={channels}, or let data.train give images of {taken}.'
            )

    def check_data(self, images: int, batches: Sequence[int]) -> None:
        """Refuse settings that do not fit the training data. Called once, by the training loop, before the first step.

        Args:
            images: N, in the training set.
            batches: the different numbers of images that the batches of all processes together hold: a full one, the last of an epoch.

        Raises:
            ConfigError: a setting does not fit; the message names the value to use.
        """

    def trial(self, batch: dict[str, Tensor]) -> None:
        """Run every layer that training runs, whatever state the method is in; asked before training whether a batch can be used."""
        self(batch, mode='loss')

    def after_load_backbone(self) -> None:
        """Called when weights were loaded into `self.backbone`: `momentum_copies` of it start from the same weights again."""
        for part, follower in self.momentum_copies:
            if part == 'backbone':
                self.get_submodule(follower).load_state_dict(self.backbone.state_dict())

    def extract(self, img: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the backbone for images (B, C, H, W)."""
        return self.backbone(self.single_view(img))

    def features(self, img: Tensor) -> Tensor:
        """Last feature map, averaged over positions: (B, C, H, W) -> (B, D)."""
        return global_average(self.extract(img))

    def predict(self, img: Tensor) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Logits per head, for methods with classes."""
        raise ConfigError(
            f'{type(self).__name__} has no classes to predict: evaluate its features, or train a Classification on them.'
        )

    def single_view(self, img: Tensor | Sequence[Tensor]) -> Tensor:
        """`img` itself if it is (B, C, H, W).

        Raises:
            ShapeError: it is not.
        """
        if not isinstance(img, Tensor) or img.dim() != 4:
            raise ShapeError(
                f'{type(self).__name__} needs img of shape (B, C, H, W) here, one view per image; got {form_of(img)}: '
                f'use ClassificationDataset or ExtractDataset.'
            )
        return img

    def split_views(self, img: Tensor | Sequence[Tensor], number: int = 2) -> tuple[Tensor, ...]:
        """(B, V, C, H, W) -> V tensors (B, C, H, W).

        Raises:
            ShapeError: not `number` views of one size.
        """
        if not isinstance(img, Tensor) or img.dim() != 5 or img.shape[1] != number:
            raise ShapeError(
                f'{type(self).__name__} needs img of shape (B, {number}, C, H, W), {number} views per image; '
                f'got {form_of(img)}: use {self.dataset}.'
            )
        return tuple(view.contiguous() for view in img.unbind(1))

    def view_groups(self, img: Tensor | Sequence[Tensor], least: int = 1, reason: str = '') -> list[Tensor]:
        """Views of one size or several, as `MultiViewDataset` gives them -> tensors (B, V, C, H, W), one per size; see `views.py`.

        Args:
            img: (B, V, C, H, W), or a list of such, one per size.
            least: views of all sizes that the method needs, >= 1.
            reason: the setting that asks for so many, for the message.

        Raises:
            ShapeError: it is something else, the groups are not of the same images, or there are fewer views.
        """
        groups = [img] if isinstance(img, Tensor) else list(img)
        if not groups or any(group.dim() != 5 for group in groups) or len({len(group) for group in groups}) > 1:
            raise ShapeError(
                f'{type(self).__name__} needs views of images, img of shape (B, V, C, H, W) or a list of such, one per size; '
                f'got {form_of(img)}: use {self.dataset or "MultiViewDataset"}.'
            )
        if sum(group.shape[1] for group in groups) < least:
            raise ShapeError(
                f'{type(self).__name__} needs {least} views or more{reason}; got {form_of(img)}: set number in data.train.views.'
            )
        return groups
