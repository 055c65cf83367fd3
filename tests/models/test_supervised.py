"""Supervised training: Mixup, soft targets and label smoothing, against timm's own code and slow references."""

from __future__ import annotations

import numpy as np
import pytest
import timm.data
import timm.loss
import torch
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from selfsup.errors import ConfigError, SelfSupWarning, ShapeError
from selfsup.models.layers.mixup import Mixup
from selfsup.registry import BACKBONES, HEADS, MODELS
from tests.models.tiny_models import TINY_RESNET, classifier

K = 5
IMAGES, LABELS = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 4, 2, 2])


def head(**arguments):
    return HEADS.build({**classifier(8, K, with_avg_pool=True), **arguments})


@pytest.mark.parametrize(
    'settings',
    [
        {},
        {'cutmix_alpha': 0.0},
        {'mixup_alpha': 0.0},
        {'mode': 'elem', 'prob': 0.5},
        {'mode': 'pair'},
        {'cutmix_minmax': [0.2, 0.8], 'switch_prob': 1.0},
        {'label_smoothing': 0.0, 'prob': 0.7},
    ],
    ids=str,
)
def test_mixup_is_timms(settings):
    used = {
        'mixup_alpha': 0.8,
        'cutmix_alpha': 1.0,
        'prob': 1.0,
        'switch_prob': 0.5,
        'mode': 'batch',
        'label_smoothing': 0.1,
        **settings,
    }
    before = IMAGES.clone()
    changed = 0
    for seed in range(8):
        np.random.seed(seed)
        expected = timm.data.Mixup(num_classes=K, **used)(IMAGES.clone(), LABELS)
        np.random.seed(seed)
        mixed, targets = Mixup(**settings)(IMAGES, LABELS, K)
        assert torch.equal(mixed, expected[0]) and torch.equal(targets, expected[1])
        assert torch.equal(IMAGES, before)
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(4))
        changed += not torch.equal(mixed, IMAGES)
    assert changed >= 2


def test_mixup_follows_its_formula():
    """x = lam x_i + (1 - lam) x_j, and the same of the targets; CutMix: lam is the share of pixels that stay."""
    np.random.seed(1)
    mixed, targets = Mixup(cutmix_alpha=0.0, label_smoothing=0.0)(IMAGES, LABELS, K)
    lam = targets[0, 0]  # classes 0 and 2
    assert 0 < lam < 1
    torch.testing.assert_close(mixed, lam * IMAGES + (1 - lam) * IMAGES.flip(0))
    torch.testing.assert_close(targets[0], torch.tensor([lam, 0, 1 - lam, 0, 0]))
    np.random.seed(1)
    mixed, targets = Mixup(mixup_alpha=0.0, label_smoothing=0.0)(IMAGES, LABELS, K)
    kept = (mixed == IMAGES).all(dim=1)
    assert torch.equal(mixed.movedim(1, -1)[~kept], IMAGES.flip(0).movedim(1, -1)[~kept])
    torch.testing.assert_close(targets[0, 0], kept[0].float().mean())


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'mixup_alpha': -1}, 'mixup_alpha=-1: must be a number >= 0'),
        ({'cutmix_alpha': float('nan')}, 'cutmix_alpha=nan'),
        ({'prob': 1.5}, r'prob=1.5: must be a number in \[0, 1\]'),
        ({'switch_prob': -0.1}, 'switch_prob=-0.1'),
        ({'prob': True}, 'prob=True'),
        ({'label_smoothing': 1.0}, r'label_smoothing=1.0: must be a number in \[0, 1\)'),
        ({'mode': 'batches'}, "mode='batches': must be 'batch', 'pair' or 'elem'. Did you mean 'batch'"),
        ({'cutmix_minmax': [0.8, 0.2]}, 'smallest < largest'),
        ({'cutmix_minmax': 0.5}, 'must be a list of 2 numbers'),
        ({'mixup_alpha': 0, 'cutmix_alpha': 0}, 'mixes nothing'),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        Mixup(**settings)


def test_an_odd_batch_is_refused():
    with pytest.raises(ShapeError, match=r'it got 3 of them\. Use an even'):
        Mixup()(IMAGES[:3], LABELS[:3], K)


def test_label_smoothing_and_soft_targets():
    logits = {
        'head0': torch.randn(4, K, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    }
    log_p = logits['head0'].log_softmax(dim=1)
    smooth = torch.full((4, K), 0.1 / K, dtype=torch.float64)
    smooth[range(4), LABELS] += 0.9
    expected = sum(-smooth[i, k] * log_p[i, k] for i in range(4) for k in range(K)) / 4
    found = head(label_smoothing=0.1).loss(logits, LABELS)
    torch.testing.assert_close(found['loss'], expected)
    torch.testing.assert_close(found['loss'], LabelSmoothingCrossEntropy(0.1)(logits['head0'], LABELS))
    soft = torch.rand(4, K, generator=torch.Generator().manual_seed(2)).softmax(dim=1)
    for smoothing in (0.0, 0.1):  # soft targets are not smoothed again
        out = head(label_smoothing=smoothing).loss(logits, soft)
        torch.testing.assert_close(out['loss'], SoftTargetCrossEntropy()(logits['head0'], soft.double()))
    assert out['acc'] == (logits['head0'].argmax(1) == soft.argmax(1)).float().mean() * 100
    factors = torch.tensor([0.0, 2.0, 1.0, 1.0])
    weighted = head(label_smoothing=0.1).loss(logits, LABELS, weight=factors)['loss']
    torch.testing.assert_close(weighted, -(smooth * log_p).sum(1).mul(factors).mean())
    low = {'head0': logits['head0'].detach().to(torch.bfloat16)}
    assert head().loss(low, soft)['loss'].dtype == torch.float32


def test_binary_cross_entropy():
    """The mean over images and classes, for soft targets, labels and smoothed labels; weights count images."""
    logits = {
        'head0': torch.randn(4, K, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    }
    p, soft = (
        logits['head0'].sigmoid(),
        torch.rand(4, K, generator=torch.Generator().manual_seed(2)).softmax(dim=1).double(),
    )

    def by_hand(targets):
        return -(targets * p.log() + (1 - targets) * (1 - p).log()).mean(dim=1)

    found = head(criterion='bce').loss(logits, soft.float())
    torch.testing.assert_close(found['loss'], by_hand(soft.float().double()).mean())
    torch.testing.assert_close(
        found['loss'], timm.loss.BinaryCrossEntropy(smoothing=0.0)(logits['head0'], soft.float().double())
    )
    assert found['acc'] == head().loss(logits, soft)['acc']
    one_hot = torch.nn.functional.one_hot(LABELS, K).double()
    torch.testing.assert_close(head(criterion='bce').loss(logits, LABELS)['loss'], by_hand(one_hot).mean())
    smooth = one_hot * 0.9 + 0.1 / K
    smoothed = head(criterion='bce', label_smoothing=0.1)
    torch.testing.assert_close(smoothed.loss(logits, LABELS)['loss'], by_hand(smooth).mean())
    factors = torch.tensor([0.0, 2.0, 1.0, 1.0])
    torch.testing.assert_close(
        smoothed.loss(logits, LABELS, weight=factors)['loss'], (by_hand(smooth) * factors).mean()
    )
    low = {'head0': logits['head0'].detach().to(torch.bfloat16)}
    assert head(criterion='bce').loss(low, soft)['loss'].dtype == torch.float32


def test_the_first_weights_of_timms_resnets():
    """Left as torch draws them: uniform, biases too."""
    torch.manual_seed(3)
    plain = nn.Linear(8, K)
    torch.manual_seed(3)
    own = head(init_std=None)
    bound = 8**-0.5
    assert (
        own.fc_cls.weight.abs().max() < bound
        and own.fc_cls.weight.std() > bound / 3
        and own.fc_cls.bias.abs().min() > 0
    )
    own.fc_cls.weight.data.zero_()
    torch.manual_seed(3)
    own.reset()
    assert torch.equal(own.fc_cls.weight, plain.weight) and torch.equal(own.fc_cls.bias, plain.bias)


@pytest.mark.parametrize('name', ['resnet18', 'efficientnet_b0'])  # the second has norms with an activation inside
def test_batch_norms_of_timm_over_all_processes(name, monkeypatch):
    build = {'type': 'TIMMBackbone', 'model_name': name, 'sync_bn': True}
    with torch.device('meta'):
        with pytest.warns(SelfSupWarning, match='SyncBN was replaced by BN'):
            plain = BACKBONES.build(build)
        monkeypatch.setattr('selfsup.models.layers.norm.can_sync_bn', lambda: True)
        synced = BACKBONES.build(build)
    kinds = [[m for m in net.modules() if isinstance(m, _BatchNorm)] for net in (plain, synced)]
    assert len(kinds[0]) == len(kinds[1]) >= 20 and not any(isinstance(m, nn.SyncBatchNorm) for m in kinds[0])
    assert all(isinstance(m, nn.SyncBatchNorm) for m in kinds[1]) and list(plain.state_dict()) == list(
        synced.state_dict()
    )
    assert [p.requires_grad for p in plain.parameters()] == [p.requires_grad for p in synced.parameters()]


def test_the_head_of_convnext():
    convnext = head(norm_cfg={'type': 'LN', 'eps': 1e-6}, init_std=0.02)
    maps = torch.randn(2, 8, 3, 3) * 5
    reference = nn.LayerNorm(8, eps=1e-6)
    assert convnext.norm.eps == 1e-6 and convnext.fc_cls.weight.std() > 0.01
    torch.testing.assert_close(convnext((maps,))['head0'], convnext.fc_cls(reference(maps.mean((2, 3)))))
    assert list(head().state_dict()) == ['fc_cls.weight', 'fc_cls.bias']  # the names of old checkpoints
    convnext.fc_cls.weight.data.zero_()
    convnext.reset()
    assert 0.01 < convnext.fc_cls.weight.std() < 0.04
    for wrong, message in (
        ({'label_smoothing': 1.5}, r'\[0, 1\)'),
        ({'init_std': -1}, '>= 0'),
        ({'criterion': 'bec'}, "Did you mean 'bce'"),
        ({'norm_cfg': {'type': 'L'}}, "'LN'"),
    ):
        with pytest.raises(ConfigError, match=message):
            head(**wrong)


def model(**arguments):
    torch.manual_seed(0)
    return MODELS.build(
        {
            'type': 'Classification',
            'backbone': TINY_RESNET,
            'head': classifier(64, K, with_avg_pool=True),
            'mixup': {'type': 'Mixup'},
            **arguments,
        }
    )


def test_a_model_mixes_in_training_only():
    net, images = model(), torch.rand(4, 3, 32, 32)
    plain = model(mixup=None)
    np.random.seed(3)
    mixed = Mixup()(images, LABELS, K)
    np.random.seed(3)
    found = net.loss(images, LABELS)
    torch.testing.assert_close(found.total, plain.head.loss(plain.head(plain.extract(mixed[0])), mixed[1])['loss'])
    net.eval(), plain.eval()
    plain.load_state_dict(net.state_dict())
    torch.testing.assert_close(net.loss(images, LABELS).total, plain.loss(images, LABELS).total)
    assert net.loss(images[:3], LABELS[:3]).total.isfinite()


def test_two_smoothings_and_heads_without_soft_targets_are_refused():
    with pytest.raises(ConfigError, match='Give label_smoothing to mixup alone'):
        model(head={**classifier(64, K, with_avg_pool=True), 'label_smoothing': 0.1})
    with pytest.raises(ConfigError, match='MultiClsHead does not take: use ClsHead'):
        model(head={'type': 'MultiClsHead', 'in_indices': [4], 'backbone': 'resnet18', 'num_classes': K})
    with pytest.raises(ConfigError, match=r"mixup=0\.8: must be dict\(type='Name', \.\.\.\) or None"):
        model(mixup=0.8)
