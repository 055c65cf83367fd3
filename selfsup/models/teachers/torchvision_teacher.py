"""Teachers of torchvision."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import CheckpointError, ConfigError, ShapeError, UnknownNameError
from ...registry import TEACHERS
from ...weights.fit import match
from ...weights.frame import flat_weights
from ...weights.read import check_finite, read_checkpoint
from .teacher import Answer, Teacher
from .view import Normalization

PROBE = 224  # torchvision's models were trained with images of about this side


class TorchvisionNetwork(nn.Module):
    """A classifier of torchvision without its last linear layer: the vector is what that layer saw.

    The map is the last one, or the last tokens, that a module gives out before the network averages over places.

    Args:
        model: the classifier; it is changed.

    Raises:
        ConfigError: it has no linear layer.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
        if not linear:
            raise ConfigError(
                f'{type(model).__name__} has no linear layer at its end: it is no classifier of torchvision.'
            )
        model.set_submodule(linear[-1], nn.Identity())
        self.model = model
        self._caught: list[Tensor] = []
        self.map_at = self._place_of_map()
        model.get_submodule(self.map_at).register_forward_hook(lambda module, args, output: self._caught.append(output))

    @torch.no_grad()
    def _place_of_map(self) -> str:
        """Name of the module whose output is the map."""
        seen: list[str] = []

        def note(name: str) -> Any:
            return lambda module, args, output: seen.append(name) if _is_map(output) else None

        handles = [module.register_forward_hook(note(name)) for name, module in self.model.named_modules() if name]
        try:
            side = getattr(self.model, 'image_size', PROBE)
            self.model.eval()(torch.zeros(1, 3, side, side))
        finally:
            for handle in handles:
                handle.remove()
        return seen[-1]

    def forward(self, x: Tensor) -> Answer:
        """(B, C, H, W) -> vector (B, D), map (B, D', h, w)."""
        self._caught.clear()
        summary = self.model(x)
        output = self._caught.pop()
        if output.dim() == 3:  # a class token, then those of the patches
            side = round((output.shape[1] - 1) ** 0.5)
            if side * side != output.shape[1] - 1:
                raise ShapeError(
                    f'{type(self.model).__name__} gives {output.shape[1] - 1} tokens, which fill no square map.'
                )
            output = output[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        return Answer(summary.flatten(1), output)


def _is_map(output: Any) -> bool:
    """A map of several places (B, C, h, w), or tokens (B, 1 + n, C) of a transformer."""
    if not isinstance(output, Tensor):
        return False
    return (output.dim() == 4 and output.shape[2] * output.shape[3] > 1) or (output.dim() == 3 and output.shape[1] > 2)


@TEACHERS.register_module()
class TorchvisionTeacher(Teacher):
    """Any classifier of torchvision; the vector is what its last linear layer sees.

    Args:
        model_name: e.g. 'resnet50', 'convnext_tiny', 'vit_b_16'.
        weights: which of torchvision's weights, 'DEFAULT', 'IMAGENET1K_V1', ...; their own mean and std count.
        file: its weights, as downloaded; None downloads them, or takes what an earlier run has downloaded.
        **kwargs: see `Teacher`.

    Raises:
        UnknownNameError: torchvision has no such model.
        ConfigError: the weights are not to be had, or an argument does not fit.
        CheckpointError: `file` cannot be read, or holds other weights.
    """

    def __init__(self, model_name: str, weights: str = 'DEFAULT', file: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        from torchvision import models

        known = models.list_models(module=models)
        if model_name not in known:
            near = difflib.get_close_matches(model_name, known, n=3)
            raise UnknownNameError(
                f"model_name='{model_name}' is not a classifier of torchvision."
                + (f' Did you mean {" or ".join(map(repr, near))}?' if near else '')
            )
        try:
            record = models.get_model_weights(model_name)[weights]
        except KeyError:
            names = ', '.join(one.name for one in models.get_model_weights(model_name))
            raise ConfigError(
                f"weights='{weights}' are no weights of torchvision's {model_name}: there are {names}."
            ) from None
        model = self._built(model_name, record, file)
        fixed = getattr(model, 'image_size', None)  # of a vision transformer
        steps = record.transforms()
        self.start(
            TorchvisionNetwork(model),
            name=f'torchvision {model_name}',
            normalization=Normalization(mean=list(steps.mean), std=list(steps.std)),
            fixed_size=(fixed, fixed) if fixed else None,
        )

    def _built(self, name: str, record: Any, file: str | None) -> nn.Module:
        from torchvision import models

        with torch.random.fork_rng(devices=[]):
            model = models.get_model(name, weights=None)
        try:
            state = record.get_state_dict(progress=False, check_hash=True) if file is None else _weights(file)
        except (
            OSError,
            RuntimeError,
        ) as error:  # urllib's are OSErrors too; torch raises the other where a download is cut off
            reason = ' '.join(str(error).split())[:200]
            raise ConfigError(
                f'The weights of torchvision model {name} are not on this machine and could not be downloaded ({reason}). Download '
                f'{record.url} where there is a network, put the file anywhere on this machine, and name it in the teacher: '
                f"file='PATH/{record.url.rpartition('/')[2]}'."
            ) from None
        found = match(state, model.state_dict())
        if found.missing or found.shapes:
            wrong = [*found.missing, *found.shapes][:4]
            raise CheckpointError(
                f'{file} does not hold the weights of torchvision model {name}: {", ".join(wrong)} are missing or of another shape.'
            )
        model.load_state_dict(state, strict=False)
        return model


def _weights(file: str) -> dict[str, Tensor]:
    weights = flat_weights(read_checkpoint(file), file)
    check_finite(weights, file)
    return weights
