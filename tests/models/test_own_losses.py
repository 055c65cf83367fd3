"""A method of a user's own whose loss returns something else than a Step is refused with what to return."""

import pytest
import torch
from torch import nn

from selfsup.errors import ConfigError
from selfsup.models.algorithms.base import Algorithm, Step


class Own(Algorithm):
    """Returns what it is given."""

    dataset = 'ExtractDataset'

    def __init__(self, result):
        super().__init__()
        self.backbone, self.result = nn.Conv2d(3, 2, 1), result

    def loss(self, img):
        return self.result(self.backbone(img).mean())


IMAGES = {'img': torch.ones(2, 3, 4, 4)}


@pytest.mark.parametrize(
    'result, expected',
    [
        (lambda x: {'loss': x}, r'Own\.loss returned a dict; it must return Step'),
        (lambda x: x, r'Own\.loss returned a Tensor; it must return Step'),
        (lambda x: None, r'Own\.loss returned a NoneType; it must return Step'),
        (lambda x: Step({}), r'Own\.loss returned a Step without losses'),
    ],
)
def test_what_is_no_loss(result, expected):
    with pytest.raises(ConfigError, match=expected):
        Own(result)(IMAGES)
