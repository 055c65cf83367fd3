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


@pytest.mark.parametrize('result, expected', [
    (lambda x: {'loss': x}, r'Own\.loss returned a dict; it must return Step'),
    (lambda x: x, r'Own\.loss returned a Tensor; it must return Step'),
    (lambda x: None, r'Own\.loss returned a NoneType; it must return Step'),
    (lambda x: Step({}), r'Own\.loss returned a Step without losses'),
    (lambda x: Step({'a': x.detach(), 'b': torch.tensor(1.)}), r'The losses of Own \(a, b\) depend on no parameter that is trained'),
])
def test_what_is_no_loss(result, expected):
    with pytest.raises(ConfigError, match=expected):
        Own(result)(IMAGES)


def test_one_loss_with_a_gradient_is_enough():
    step = Own(lambda x: Step({'a': x, 'b': torch.tensor(1.)}))(IMAGES)
    assert step.total.requires_grad
    with torch.no_grad():  # an evaluation may look at the loss
        assert not Own(lambda x: Step({'a': x}))(IMAGES).total.requires_grad
