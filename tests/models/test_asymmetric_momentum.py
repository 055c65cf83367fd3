"""Shares of old and new that a factor of 0.5 cannot tell apart: memories, momentum networks, weights of clusters; by hand."""

import pytest
import torch
from torch import nn

from selfsup.models.algorithms import BYOL, MOCO, NPID, ODC, DeepCluster
from selfsup.models.heads import ClsHead, ContrastiveHead, LatentPredictHead
from selfsup.models.layers.functional import class_weights
from selfsup.models.memories import ODCMemory, SimpleMemory
from tests.models.test_models_memories import Flat, Vectors

NEW = 0.2  # share of the new feature


def unit(row):
    length = sum(v * v for v in row) ** 0.5
    return [v / length for v in row]


def moved(bank, idx, features):
    """Rows of `bank` after one update, in plain python."""
    rows = [list(row) for row in bank.tolist()]
    for i, feature in dict(zip(idx.tolist(), features.tolist(), strict=True)).items():
        rows[i] = unit([(1 - NEW) * old + NEW * new for old, new in zip(bank[i].tolist(), unit(feature), strict=True)])
    return torch.tensor(rows)


@pytest.mark.parametrize('kind', ['SimpleMemory', 'ODCMemory'])
def test_memories_keep_the_old_feature_for_the_larger_part(kind):
    torch.manual_seed(0)
    memory = SimpleMemory(6, 4, NEW) if kind == 'SimpleMemory' else ODCMemory(6, 4, NEW, num_classes=2, min_cluster=1)
    if kind == 'ODCMemory':
        memory.init_memory(torch.randn(6, 4), torch.tensor([0, 0, 0, 1, 1, 1]))
    update = memory.update if kind == 'SimpleMemory' else memory.update_samples

    def rows():
        return (memory.feature_bank if kind == 'SimpleMemory' else memory.feature_bank.local).clone()

    for idx in (torch.tensor([4, 0, 5]), torch.tensor([1, 0])):
        before, features = rows(), torch.randn(len(idx), 4) * 3
        update(idx, features)
        torch.testing.assert_close(rows(), moved(before, idx, features), rtol=1e-5, atol=1e-6)
        assert ((rows() * before).sum(1) > 0.9).all()  # with the shares exchanged it would look elsewhere


def test_npid_and_odc_move_their_memories_by_the_share():
    torch.manual_seed(1)
    simple = SimpleMemory(6, 4, NEW)
    npid = NPID(Vectors(), Flat(), ContrastiveHead(), simple, neg_num=3)
    bank = ODCMemory(6, 4, NEW, num_classes=2, min_cluster=1)
    odc = ODC(Vectors(), Flat(), ClsHead(with_avg_pool=False, in_channels=4, num_classes=2), bank)
    bank.init_memory(torch.randn(6, 4), torch.tensor([0, 0, 0, 1, 1, 1]))
    for model, rows in ((npid, lambda: simple.feature_bank), (odc, lambda: bank.feature_bank.local)):
        before, img, idx = rows().clone(), torch.randn(2, 4, 1, 1), torch.tensor([2, 5])
        model.after_update([model({'img': img, 'idx': idx}).carry], progress=0.25)
        torch.testing.assert_close(rows().clone(), moved(before, idx, img[..., 0, 0]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', ['MOCO', 'BYOL'])
def test_momentum_networks_keep_the_old_weights_for_the_larger_part(name):
    if name == 'MOCO':
        model = MOCO(Vectors(), Flat(), ContrastiveHead(), queue_len=8, feat_dim=4, momentum=0.9)
        follower, carries = model.key_backbone, [{'keys': torch.randn(2, 4)}]
    else:
        model = BYOL(Vectors(), Flat(), LatentPredictHead(nn.Linear(4, 4)), base_momentum=0.9)
        follower, carries = model.target_backbone, [{}]
    with torch.no_grad():
        model.backbone.weight.fill_(3.0)
    for expected in (0.9 * 1 + 0.1 * 3, 0.9 * 1.2 + 0.1 * 3):
        model.after_update(carries, progress=0.0)
        assert follower.weight.item() == pytest.approx(expected, rel=1e-6)


def test_weights_of_clusters_at_a_power_that_is_not_one_half():
    labels = torch.tensor([0] * 16 + [1])  # 16 ** -0.25 = 1 / 2
    expected = torch.tensor([1 / 3, 2 / 3])
    torch.testing.assert_close(class_weights(labels, 2, 0.25, 1e-9), expected, rtol=1e-5, atol=0)
    head = {'with_avg_pool': False, 'in_channels': 4, 'num_classes': 2}
    odc = ODC(Vectors(), Flat(), ClsHead(**head), ODCMemory(17, 4, num_classes=2, min_cluster=1))
    for model in (odc, DeepCluster(Vectors(), Flat(), ClsHead(**head))):
        model.set_reweight(labels, 0.25)
        weight = model.loss_weight if hasattr(model, 'loss_weight') else model.head.weight
        torch.testing.assert_close(weight / weight.sum(), expected, rtol=1e-4, atol=0)
