"""Necks and heads on their own."""

import pytest
import torch
from torch import nn

from selfsup.errors import ConfigError, SelfSupWarning, ShapeError
from selfsup.registry import HEADS, NECKS

NECK_KEYS = {
    'LinearNeck': {'fc.weight', 'fc.bias'},
    'NonLinearNeckV1': {'mlp.0.weight', 'mlp.0.bias', 'mlp.2.weight', 'mlp.2.bias'},
    'NonLinearNeckV2': {'mlp.0.weight', 'mlp.0.bias', 'mlp.1.weight', 'mlp.1.bias', 'mlp.3.weight', 'mlp.3.bias'},
    'NonLinearNeckSimCLR': {'fc0.weight', 'bn0.weight', 'bn0.bias', 'fc1.weight', 'bn1.weight', 'bn1.bias'},
}


@pytest.mark.parametrize('kind', NECK_KEYS)
def test_necks(kind):
    hidden = {} if kind == 'LinearNeck' else {'hid_channels': 12}
    extra = {'sync_bn': False} if kind == 'NonLinearNeckSimCLR' else {}
    neck = NECKS.build({'type': kind, 'in_channels': 6, 'out_channels': 5, **hidden, **extra}).eval()
    assert {name for name, _ in neck.named_parameters()} == NECK_KEYS[kind]
    x = torch.randn(4, 6, 3, 3)
    out = neck((x[:, :2], x))
    assert out.shape == (4, 5)
    torch.testing.assert_close(neck(x), out)
    torch.testing.assert_close(neck(x.mean((2, 3))), out)
    flat = NECKS.build({'type': kind, 'in_channels': 54, 'out_channels': 5, 'with_avg_pool': False, **hidden, **extra})
    assert flat([x]).shape == (4, 5)
    with pytest.raises(ShapeError, match='set in_channels=7'):
        neck(torch.randn(4, 7, 3, 3))


def test_neck_initialisation():
    neck = NECKS.build({'type': 'NonLinearNeckV1', 'in_channels': 400, 'hid_channels': 300, 'out_channels': 8})
    assert neck.mlp[0].weight.std().item() == pytest.approx(0.01, rel=0.02)
    neck.init_weights('kaiming')
    assert neck.mlp[0].weight.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert not neck.mlp[0].bias.any()
    with pytest.raises(ConfigError, match="init_linear='xavier': use 'normal' or 'kaiming'"):
        neck.init_weights('xavier')


def test_simclr_neck_options():
    options = {'type': 'NonLinearNeckSimCLR', 'in_channels': 6, 'hid_channels': 12, 'out_channels': 5, 'sync_bn': False}
    neck = NECKS.build({**options, 'num_layers': 3, 'with_bias': True, 'with_last_bn': False})
    assert {k.rsplit('.', 1)[0] for k in neck.state_dict()} == {'fc0', 'bn0', 'fc1', 'bn1', 'fc2'}
    assert neck.fc0.bias is not None and neck(torch.randn(4, 6)).shape == (4, 5)
    assert (neck(torch.randn(64, 6)) < 0).any()  # no ReLU at the end
    with pytest.raises(ConfigError, match='num_layers=0'):
        NECKS.build({**options, 'num_layers': 0})


def test_avg_pool_neck_keeps_four_axes():
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(NECKS.build({'type': 'AvgPoolNeck'})((x,)), x.mean((2, 3), keepdim=True))


def test_cls_head():
    head = HEADS.build({'type': 'ClsHead', 'with_avg_pool': True, 'in_channels': 6, 'num_classes': 3})
    assert set(head.state_dict()) == {'fc_cls.weight', 'fc_cls.bias'}
    assert head([torch.randn(4, 6, 2, 2)])['head0'].shape == (4, 3)
    logits = {'head0': torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 3.0]])}
    out = head.loss(logits, torch.tensor([0, 1]))
    assert out['acc'] == 50
    torch.testing.assert_close(out['loss'], nn.functional.cross_entropy(logits['head0'], torch.tensor([0, 1])))


def test_contrastive_head_refuses_a_temperature_of_zero():
    with pytest.raises(ConfigError, match='temperature=0'):
        HEADS.build({'type': 'ContrastiveHead', 'temperature': 0})


def test_odc_neck():
    torch.manual_seed(0)
    neck = NECKS.build({'type': 'NonLinearNeckV0', 'in_channels': 6, 'hid_channels': 8, 'out_channels': 5}).train()
    assert list(neck.state_dict()) == [
        'fc0.weight',
        'fc0.bias',
        'bn0.running_mean',
        'bn0.running_var',
        'bn0.num_batches_tracked',
        'fc1.weight',
        'fc1.bias',
    ]
    assert neck.bn0.momentum == 0.001 and not neck.bn0.affine and neck.drop.p == 0.5
    x = torch.randn(4, 6, 3, 3)
    assert not torch.equal(neck(x), neck(x)) and float(neck(x).detach().min()) == 0  # dropout; the last ReLU
    neck.eval()
    h = torch.relu(neck.bn0(neck.fc0(x.mean((2, 3)))))
    torch.testing.assert_close(neck([x]), torch.relu(neck.fc1(h)))


def test_relative_loc_neck():
    torch.manual_seed(0)
    neck = NECKS.build({'type': 'RelativeLocNeck', 'in_channels': 300, 'out_channels': 200})
    neck.init_weights('normal')
    assert neck.fc.weight.std().item() == pytest.approx(0.005, rel=0.02) and (neck.fc.bias == 0.1).all()
    assert neck.bn.momentum == 0.003 and list(neck.state_dict())[:3] == ['fc.weight', 'fc.bias', 'bn.weight']
    neck.eval()
    x = torch.randn(4, 600, 2, 2)
    torch.testing.assert_close(neck((x,)), torch.relu(neck.bn(neck.fc(x.mean((2, 3))))))
    with pytest.raises(
        ShapeError, match=r'in_channels=300 and reads two joined maps, 600 numbers; .* gives 128: set in_channels=64'
    ):
        neck(torch.randn(2, 128, 2, 2))
    flat = NECKS.build({'type': 'RelativeLocNeck', 'in_channels': 4, 'out_channels': 2, 'with_avg_pool': False})
    assert flat(torch.randn(3, 2, 2, 2)).shape == (3, 2)


@pytest.mark.parametrize(
    'cfg',
    [
        {'type': 'NonLinearNeckV0', 'in_channels': 4, 'hid_channels': 4, 'out_channels': 2, 'sync_bn': True},
        {'type': 'RelativeLocNeck', 'in_channels': 4, 'out_channels': 2, 'sync_bn': True},
    ],
)
def test_necks_with_sync_bn(cfg, monkeypatch):
    with pytest.warns(SelfSupWarning, match='SyncBN was replaced by BN'):
        plain = NECKS.build(cfg)
    monkeypatch.setattr('selfsup.models.layers.norm.can_sync_bn', lambda: True)
    synced = NECKS.build(cfg)
    layers = [
        next(m for m in neck.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)) for neck in (plain, synced)
    ]
    assert [type(m) for m in layers] == [nn.BatchNorm1d, nn.SyncBatchNorm]
    assert layers[0].momentum == layers[1].momentum and layers[0].affine == layers[1].affine
    assert plain.state_dict().keys() == synced.state_dict().keys()


def test_latent_cls_head():
    torch.manual_seed(0)
    head = HEADS.build({'type': 'LatentClsHead', 'predictor': {'in_channels': 6, 'num_classes': 5}})
    nn.init.normal_(head.predictor.weight)
    x, target = torch.randn(4, 6, requires_grad=True), torch.randn(4, 6, requires_grad=True)
    out = head(x, target)
    labels = head.predictor(target).argmax(1)
    torch.testing.assert_close(out['loss'], nn.functional.cross_entropy(head.predictor(x), labels))
    assert out['acc'] == (head.predictor(x).argmax(1) == labels).float().mean() * 100
    out['loss'].backward()
    assert target.grad is None and x.grad.abs().max() > 0
    with pytest.raises(ConfigError, match="Did you mean 'num_classes'"):
        HEADS.build({'type': 'LatentClsHead', 'predictor': {'in_channels': 6, 'num_class': 5}})
    with pytest.raises(ConfigError, match=r"predictor.* lacks 'num_classes'"):
        HEADS.build({'type': 'LatentClsHead', 'predictor': {'in_channels': 6}})


def test_cls_head_starts_anew_and_weighs_images():
    torch.manual_seed(0)
    head = HEADS.build({'type': 'ClsHead', 'in_channels': 400, 'num_classes': 50})
    nn.init.ones_(head.fc_cls.weight)
    nn.init.ones_(head.fc_cls.bias)
    head.reset()
    assert head.num_classes == 50 and head.fc_cls.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert (head.fc_cls.bias == 0).all()
    logits, labels = {'head0': torch.randn(3, 50)}, torch.tensor([4, 5, 6])
    each = nn.functional.cross_entropy(logits['head0'], labels, reduction='none')
    torch.testing.assert_close(
        head.loss(logits, labels, torch.tensor([2.0, 1.0, 0.0]))['loss'], (2 * each[0] + each[1]) / 3
    )
    torch.testing.assert_close(head.loss(logits, labels)['loss'], each.mean())


def test_multi_cls_head_dimensions_and_errors():
    head = HEADS.build(
        {'type': 'MultiClsHead', 'pool_type': 'specified', 'in_indices': (0, 1, 2, 3, 4), 'num_classes': 2}
    )
    assert [fc.in_features for fc in head.fcs] == [9216, 9216, 8192, 9216, 8192]
    unpooled = HEADS.build(
        {
            'type': 'MultiClsHead',
            'in_indices': (4,),
            'with_last_layer_unpool': 'replace',
            'norm_cfg': None,
            'num_classes': 2,
        }
    )
    assert unpooled.fcs[0].in_features == 2048 * 49 and list(unpooled.state_dict()) == ['fcs.0.weight', 'fcs.0.bias']
    assert unpooled([torch.randn(1, 2048, 7, 7)])['head0'].shape == (1, 2)
    with pytest.raises(
        ShapeError, match=r'layer 4 of shape \(1, 2048, 6, 6\) gives 73728 numbers, not 100352: use images of 224'
    ):
        unpooled([torch.randn(1, 2048, 6, 6)])
    with pytest.raises(ShapeError, match=r'one map for each of in_indices=\(4,\); it got 2: set out_indices'):
        unpooled([torch.randn(1, 2048, 7, 7)] * 2)
    with pytest.raises(ShapeError, match=r'map of layer 4 is 3 x 3, smaller than its window of 6'):
        HEADS.build({'type': 'MultiClsHead', 'pool_type': 'specified', 'in_indices': (4,)})(
            [torch.randn(1, 2048, 3, 3)]
        )
    small = HEADS.build(
        {
            'type': 'MultiClsHead',
            'in_indices': (4,),
            'backbone': 'resnet18',
            'norm_cfg': {'type': 'GN', 'num_groups': 8},
        }
    )
    assert small([torch.randn(2, 512, 3, 5)])['head0'].shape == (2, 1000)
    for wrong, message in (
        ({'pool_type': 'max'}, "must be 'adaptive' or 'specified'"),
        ({'backbone': 'resnet5'}, "Did you mean 'resnet50'"),
        ({'in_indices': (5,)}, r'in_indices\.0=5: must be a whole number in \[0, 4\]'),
        ({'norm_cfg': {'type': 'BNN'}}, "Did you mean 'BN'"),
    ):
        with pytest.raises(ConfigError, match=message):
            HEADS.build({'type': 'MultiClsHead', **wrong})


def test_multi_cls_head_falls_back_from_sync_bn():
    with pytest.warns(SelfSupWarning, match='SyncBN was replaced by BN'):
        head = HEADS.build({'type': 'MultiClsHead', 'norm_cfg': {'type': 'SyncBN', 'momentum': 0.1, 'affine': False}})
    assert type(head.norms[0]) is nn.BatchNorm2d and not head.norms[0].affine


def test_windows_are_those_that_evaluation_uses():
    from selfsup.evaluation import layer_features
    from selfsup.models.layers.pooling import LAYER_WINDOWS

    assert getattr(layer_features, 'WINDOWS', LAYER_WINDOWS) == LAYER_WINDOWS
