"""A backbone with the weights of a file, as every conversion starts from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .classifier import Classifier


@dataclass(frozen=True)
class Network:
    """A backbone in eval mode, with the weights of a file.

    Attributes:
        backbone: the module. One that is known by its weights returns the maps of all stages, any other its last map.
        unmerged: the module as it stands in the file; `backbone` itself unless kernels and norms were merged.
        config: of the backbone; it builds `backbone`.
        layout: what the file was recognised as.
        unused: why tensors of the file are left out, by their names in the file.
        notes: sentences about what was decided although the file does not say it.
        classifier: what follows the average of the last map, or None.
    """

    backbone: nn.Module
    unmerged: nn.Module
    config: dict[str, Any]
    layout: str
    unused: dict[str, str]
    notes: tuple[str, ...] = ()
    classifier: Classifier | None = None

    @property
    def title(self) -> str:
        """Type and settings in one line."""
        return title(self.config)

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return self.config.get('in_channels', 3)

    def weights(self) -> dict[str, Tensor]:
        """State dict of the backbone under the names of its authors or of timm, without what a `TIMMBackbone` puts before them."""
        return {
            name.removeprefix('model.'): value.detach().contiguous()
            for name, value in self.backbone.state_dict().items()
        }

    def with_classifier(self, norm: str, linear: str) -> dict[str, Tensor]:
        """`weights`, and those of the classifier with these beginnings of the names of its norm and its linear layer."""
        return {**self.weights(), **(self.classifier.named(norm, linear) if self.classifier else {})}

    @torch.no_grad()
    def run(self, images: Tensor) -> dict[str, Tensor]:
        """What `unmerged` makes of `images` (B, in_channels, H, W).

        Returns:
            `map1`, `map2`, ... (B, C, h, w), of the stages; `last map`; `features` (B, D), its average; `logits` (B, K) with a classifier.
        """
        maps = self._maps(images)
        outputs = {
            **{f'map{stage}': value for stage, value in enumerate(maps, 1)},
            'last map': maps[-1],
            'features': maps[-1].mean((2, 3)),
        }
        return {**outputs, 'logits': self.classifier.build()(maps)['head0']} if self.classifier else outputs

    def _maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps of the backbone; a network of the user's own may give something else.

        Raises:
            ConfigError: it gives no tuple of maps (B, C, h, w), or cannot take such images.
        """
        kind = self.config['type']
        try:
            maps = self.unmerged(images)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise ConfigError(
                f'{kind} cannot be run on images {tuple(images.shape)}: {reason}. Give --size, and in_channels in its config '
                'where it is not 3.'
            ) from None
        if (
            not isinstance(maps, tuple | list)
            or not maps
            or not all(isinstance(m, Tensor) and m.dim() == 4 for m in maps)
        ):
            output = f'a tensor {tuple(maps.shape)}' if isinstance(maps, Tensor) else f'a {type(maps).__name__}'
            raise ConfigError(
                f'{kind} gives {output}, not a tuple of maps (B, C, h, w), which is what a backbone of ours gives: change its '
                'forward.'
            )
        return tuple(maps)


def title(config: Mapping[str, Any]) -> str:
    """Type and settings of a backbone in one line."""
    shown = ', '.join(f'{key}={value!r}' for key, value in config.items() if key not in ('type', 'out_indices'))
    return f'{config["type"]}({shown})'
