"""A predictor that does not give what it is to predict is refused; one number would be compared with all."""

import pytest
import torch

from selfsup.errors import ShapeError
from selfsup.models.algorithms.contrastive.moco_v3 import MoCoV3
from selfsup.models.algorithms.contrastive.nnclr import NNCLR
from selfsup.models.algorithms.siamese.byol import BYOL
from selfsup.models.algorithms.siamese.simsiam import SimSiam
from selfsup.models.heads import LatentPredictHead
from selfsup.models.necks import MLPNeck

from .crops import Same


@pytest.mark.parametrize('numbers', [1, 5])
@pytest.mark.parametrize(
    'build',
    [
        SimSiam,
        MoCoV3,
        lambda backbone, neck, predictor: NNCLR(backbone, neck, predictor, queue_len=8, feat_dim=6),
        lambda backbone, neck, predictor: BYOL(backbone, neck, LatentPredictHead(predictor)),
    ],
    ids=['SimSiam', 'MoCoV3', 'NNCLR', 'BYOL'],
)
def test_predictions_of_another_length(build, numbers):
    model = build(Same(), MLPNeck(4, 5, 6), MLPNeck(6, 5, numbers))
    with pytest.raises(ShapeError, match=rf'gives {numbers} numbers, but is to predict 6: set out_channels=6'):
        model(dict(img=torch.randn(3, 2, 4, 1, 1)))
