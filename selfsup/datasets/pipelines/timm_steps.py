"""Augmentation policies that timm names by a string, such as the RandAugment of the ConvNeXt recipes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Annotated

from annotated_types import Len
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode

from ...arguments import Count, Share
from ...errors import ConfigError, did_you_mean
from ...registry import PIPELINES
from .torchvision_steps import interpolation_mode
from .transforms import needs_pil

_WHOLE, _NUMBER, _SHARE, _SWITCH = r'\d+', r'\d+(\.\d+)?', r'(0(\.\d+)?|1(\.0+)?)', '[01]'
_AUTO = MappingProxyType({'mstd': _NUMBER})
# Sections that may follow each policy, with what their value may be. timm passes over a section that it does not know.
POLICIES = MappingProxyType(
    {
        'rand': MappingProxyType(
            {
                'm': _WHOLE,
                'n': '[1-9][0-9]*',
                'p': _SHARE,
                'mstd': _NUMBER,
                'mmax': _WHOLE,
                'inc': _SWITCH,
                't': '(weights|3aw|3a)',
            }
        ),
        'augmix': MappingProxyType(
            {'m': _WHOLE, 'w': _WHOLE, 'd': _WHOLE, 'a': _NUMBER, 'b': _SWITCH, 'mstd': _NUMBER}
        ),
        **dict.fromkeys(('original', 'originalr', 'v0', 'v0r', '3a'), _AUTO),
    }
)


@PIPELINES.register_module()
class TIMMAutoAugment:
    """timm's RandAugment (arXiv:1909.13719), AutoAugment (arXiv:1805.09501) and AugMix (arXiv:1912.02781), by timm's strings.

    They are not torchvision's: timm's RandAugment applies each of its operations with probability 0.5 and a noisy magnitude.
    Works on PIL images of mode RGB. Draws from python's and numpy's generators, which are seeded per sample.

    Args:
        policy: 'rand-m9-mstd0.5-inc1' (the ConvNeXt recipes), for example: RandAugment ('rand', with sections m, n, p, mstd, mmax, inc,
            t), AutoAugment ('original', 'originalr', 'v0', 'v0r', '3a', with mstd) or AugMix ('augmix', with m, w, d, a, b, mstd).
        size: side of the images in pixels, or (height, width): the longest shift is 0.45 of the shorter one.
        interpolation: as in torchvision's steps, 3 or 'bicubic'; or 'random', bilinear or bicubic for each operation.
        mean: per channel, of images in [0, 1]: the colour of what comes in from outside.

    Raises:
        ConfigError: a policy or an interpolation that timm does not have.
    """

    def __init__(
        self,
        policy: str,
        size: Count | Annotated[Sequence[Count], Len(1, 2)] = 224,
        interpolation: int | str | InterpolationMode = 'bicubic',
        mean: Annotated[Sequence[Share], Len(3, 3)] = (0.485, 0.456, 0.406),
    ) -> None:
        self.policy = policy
        sides = list(size) if isinstance(size, Sequence) else [size]
        family = _check_policy(policy)
        settings = {
            'translate_const': int(min(sides) * 0.45),
            'img_mean': tuple(min(255, round(255 * m)) for m in mean),
        }

        from timm.data import auto_augment
        from timm.data.transforms import str_to_pil_interp

        if interpolation != 'random':
            settings['interpolation'] = str_to_pil_interp(interpolation_mode(interpolation).value)
        if family == 'rand':
            self.augment = auto_augment.rand_augment_transform(policy, settings)
        elif family == 'augmix':
            self.augment = auto_augment.augment_and_mix_transform(policy, {**settings, 'translate_pct': 0.3})
        else:
            self.augment = auto_augment.auto_augment_transform(policy, settings)
        parts = self.augment.policy if hasattr(self.augment, 'policy') else [self.augment.ops]
        for operation in (operation for part in parts for operation in part):
            if operation.aug_fn is auto_augment.posterize:
                operation.aug_fn = _posterize

    def __call__(self, image: Image.Image) -> Image.Image:
        needs_pil(image)
        return self.augment(image)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(policy={self.policy!r})'


def _posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """Keep the highest bits of every value. RandAugment's strongest level keeps none: a black image, which Pillow >= 13 refuses to make."""
    if bits < 1:
        return Image.new(image.mode, image.size)
    return image if bits >= 8 else ImageOps.posterize(image, bits)


def _check_policy(policy: str) -> str:
    """The family of a policy, or a ConfigError that names what timm would pass over or stop at."""
    family, *sections = policy.split('-')
    if family not in POLICIES:
        raise ConfigError(f'TIMMAutoAugment policy={policy!r} is unknown.{did_you_mean(family, POLICIES)}')
    known = POLICIES[family]
    for section in sections:
        if not any(re.fullmatch(key + value, section) for key, value in known.items()):
            raise ConfigError(
                f"TIMMAutoAugment policy={policy!r}: '{section}' is no section of '{family}'. Known: {', '.join(known)}, "
                "each followed by its value, as in 'rand-m9-mstd0.5-inc1'."
            )
    return family
