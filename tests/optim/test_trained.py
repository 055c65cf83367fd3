"""What is trained and what is frozen, by count, and which protocol that is."""

import pytest
from torch import nn

from selfsup.errors import ConfigError
from selfsup.models.backbones import ResNet
from selfsup.optim.trained import check_counts, check_protocol, parameters_by_part


class Model(nn.Module):
    """A backbone of four stages and a head of 33 parameters."""

    def __init__(self, **backbone):
        super().__init__()
        self.backbone = ResNet(
            depth=18, stage_blocks=(1, 1, 1, 1), base_channels=4, stem='cifar', out_indices=(4,), **backbone
        )
        self.neck = nn.Identity()
        self.head = nn.Linear(32, 1)


def test_counts_by_part():
    model = Model(frozen_stages=4)
    every = sum(p.numel() for p in model.backbone.parameters())
    assert parameters_by_part(model) == {
        'backbone': {'trained': 0, 'frozen': every},
        'head': {'trained': 33, 'frozen': 0},
    }
    model.head.bias.requires_grad = False
    assert parameters_by_part(model)['head'] == {'trained': 32, 'frozen': 1}


@pytest.mark.parametrize(
    ('backbone', 'protocol', 'message'),
    [
        ({'frozen_stages': 4}, 'linear', ''),
        (
            {},
            'linear',
            r"'linear' trains a head on a frozen backbone, but ([\d,]+) of the \1 parameters of the backbone are trained",
        ),
        (
            {'frozen_stages': 3},
            'linear',
            r'but [\d,]+ of the [\d,]+ parameters of the backbone are trained. Set model.backbone.frozen_stages',
        ),
        ({}, 'finetune', ''),
        ({}, 'semi', ''),
        ({'frozen_stages': 1}, 'finetune', ''),
        (
            {'frozen_stages': 4},
            'finetune',
            r"'finetune' trains the backbone, but all its [\d,]+ parameters are frozen.*dist_train_linear.sh",
        ),
        ({'frozen_stages': 4}, 'semi', r"'semi' trains the backbone, but all its"),
        ({'frozen_stages': 4}, 'detection', ''),
    ],
)
def test_a_protocol_is_what_its_name_says(backbone, protocol, message):
    model = Model(**backbone)
    if message:
        with pytest.raises(ConfigError, match=message):
            check_protocol(protocol, model)
    else:
        check_protocol(protocol, model)


def test_a_backbone_whose_statistics_move_is_not_frozen():
    """No parameter of it is trained, but its features change from epoch to epoch."""
    model = Model()
    model.backbone.requires_grad_(False)
    with pytest.raises(
        ConfigError, match=r'\d+ batch norms of the backbone, such as .*, take the statistics of each batch'
    ):
        check_protocol('linear', model)
    model = Model(norm_eval=True)
    model.backbone.requires_grad_(False)
    check_protocol('linear', model)


def test_counts_of_a_run_without_a_backbone_say_nothing():
    check_counts('linear', {})
    check_counts('finetune', {})
