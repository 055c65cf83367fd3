"""Build a list of steps and check that it ends where the dataset needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import numpy as np
from PIL import Image

from ...arguments import Part, checked
from ...errors import ConfigError, DataError, SelfSupError
from ...registry import PIPELINES
from .channels import channels_of, refusal
from .normalization import check_pipeline, name_of

Steps = Sequence[Annotated[dict | Callable, Part(PIPELINES)]]
TO_TENSOR = ('ToTensor', 'ToImage', 'PILToTensor')
# Steps that the device takes over with prefetch, or that need what it hands out.
AFTER_PREFETCH = ('ToTensor', 'Normalize', 'Lighting', 'ConvertImageDtype', 'ToDtype', 'RandomErasing', 'GaussianNoise')
# Steps that run code of the user's, who may convert there.
OPEN_ENDED = ('Lambda',)


# Those that a loader with prefetch runs itself where they are the last.
TO_FLOATS = ('ToTensor', 'Normalize')


class Compose:
    """Steps one after the other.

    Args:
        steps: callables of one argument.
        to_floats: steps after them that the loader runs on the device, ToTensor and Normalize; not called here.
    """

    def __init__(self, steps: Sequence[Callable], to_floats: Sequence[Callable] = ()) -> None:
        self.steps = list(steps)
        self.to_floats = list(to_floats)

    def __call__(self, image: Any) -> Any:
        """Run all steps; see `run`."""
        return self.run(self.steps, image)

    def run(self, steps: Sequence[Callable], image: Any) -> Any:
        """Run some of the steps.

        Raises:
            DataError: a step refuses its input; the step's own error is the cause.
        """
        for step in steps:
            try:
                image = step(image)
            except SelfSupError:
                raise
            except (
                TypeError,
                ValueError,
                RuntimeError,
                AssertionError,
                AttributeError,
                LookupError,
                ArithmeticError,
            ) as error:
                channels = channels_of(image)
                plain = getattr(step, 'step', step)  # what a form stands for
                if channels is not None and (problem := refusal(plain, channels)):
                    raise DataError(f'pipeline step {problem}') from error
                raise DataError(
                    f'pipeline step {self.name_of(step)} failed on a {_describe(image)}: {error}'
                ) from error
        return image

    def name_of(self, step: Callable) -> str:
        """What to call a step in a message."""
        return type(step).__name__

    def __repr__(self) -> str:
        return f'Compose({", ".join(self.name_of(step) for step in self.steps)})'


def _describe(image: Any) -> str:
    """Size and kind of what a step could not use."""
    if isinstance(image, Image.Image):
        return f'{image.width}x{image.height} image'
    if isinstance(image, np.ndarray):
        return f'{image.shape[1]}x{image.shape[0]} image'
    return f'{tuple(getattr(image, "shape", ()))} tensor'


@checked
def build_steps(steps: Steps) -> list[Callable]:
    """Steps from dicts; what is no dict is taken as it is.

    Raises:
        ConfigError: `steps` is no list.
        UnknownNameError: a step that no registry knows.
    """
    return [step if callable(step) else PIPELINES.build(step) for step in steps]


def build_pipeline(steps: Steps) -> Compose:
    """A callable that runs `steps` in order; see `build_steps`."""
    return Compose(build_steps(steps))


def build_view_pipeline(steps: Steps, name: str, prefetch: bool) -> Compose:
    """The pipeline of a dataset, checked for what it must end in.

    Args:
        steps: the list.
        name: argument that it came from, for messages.
        prefetch: True: uint8 leaves the dataset and the loader normalises; False: the pipeline makes float tensors.

    Returns:
        The pipeline; with prefetch, a ToTensor and a Normalize at its end are in its `to_floats` and not in its steps.

    Raises:
        ConfigError: steps together with prefetch that need floats, no step that makes tensors without it, or a Normalize for images of
            another range.
    """
    pipeline = build_pipeline(steps)
    check_pipeline(steps, name)
    if prefetch:
        pixels = len(steps) - _floats_at_the_end(steps)
        late = [step for step in _names(steps[:pixels]) if step in AFTER_PREFETCH]
        if late:
            raise ConfigError(
                f'{name} holds {", ".join(late)}, but with prefetch images leave the dataset as uint8 and the loader makes floats: a '
                f'ToTensor and a Normalize may be its last steps. Remove {"it" if len(late) == 1 else "them"}, or set prefetch=False.'
            )
        return Compose(pipeline.steps[:pixels], pipeline.steps[pixels:])
    names = list(_names(steps))
    if None not in names and not any(step in TO_TENSOR for step in names):
        raise ConfigError(
            f"{name} makes no tensor: it holds {', '.join(map(str, names)) or 'no step'}. End it with dict(type='ToTensor') and "
            "dict(type='Normalize', mean=[...], std=[...]), or set prefetch=True."
        )
    return pipeline


def _floats_at_the_end(steps: Steps) -> int:
    """How many of the last steps are a ToTensor and, perhaps, a Normalize after it."""
    kinds = tuple(name_of(step)[0] for step in steps[-len(TO_FLOATS) :])
    return next((len(end) for end in (TO_FLOATS, TO_FLOATS[:1]) if kinds[len(kinds) - len(end) :] == end), 0)


def _names(steps: Any) -> Iterator[str | None]:
    """Names of all steps, nested ones included; None for code that may do anything."""
    for step in steps if isinstance(steps, (list, tuple)) else ():
        name, known = name_of(step)
        yield name if known and name not in OPEN_ENDED else None
        if isinstance(step, dict):
            yield from _names(step.get('transforms'))
