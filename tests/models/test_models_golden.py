"""Values and gradients of the heads and methods against the reference implementation's (tests/golden/heads.pt)."""

from pathlib import Path

import pytest
import torch
from torch import nn

from selfsup.models.algorithms import BYOL, MOCO, SimCLR
from selfsup.models.heads import ContrastiveHead, LatentPredictHead, MultiClsHead
from selfsup.models.layers.functional import l2_normalize
from selfsup.models.layers.pooling import global_average

GOLDEN = torch.load(Path(__file__).parents[1] / 'golden' / 'heads.pt', weights_only=True)
MULTI = torch.load(Path(__file__).parents[1] / 'golden' / 'multi_cls_head.pt', weights_only=True)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def close_grad(actual, expected):
    assert (actual - expected).abs().max() <= 1e-3 * expected.abs().max().clamp(min=1e-4)


class Scale(nn.Module):
    """Backbone that multiplies channels: projection = view * scale."""

    def __init__(self, scale):
        super().__init__()
        self.scale = nn.Parameter(scale.clone())

    def forward(self, x):
        return (x * self.scale[:, None, None],)


class Linear(nn.Module):
    """Backbone that is one matrix on flat images."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())

    def forward(self, x):
        return ((x.flatten(1) @ self.weight.T)[:, :, None, None],)


class Pool(nn.Module):
    """Neck without weights."""

    def forward(self, x):
        return global_average(x)


def as_views(*views):
    """Vectors (B, D) of each view -> images (B, V, D, 1, 1)."""
    return torch.stack(views, dim=1)[..., None, None]


@pytest.mark.parametrize('case', GOLDEN['contrastive'])
def test_contrastive_head(case):
    pos, neg = case['pos'].clone().requires_grad_(), case['neg'].clone().requires_grad_()
    out = ContrastiveHead(temperature=case['temperature'])(pos, neg)
    out['loss'].backward()
    close(out['loss'], case['loss'])
    close_grad(pos.grad, case['grad_pos'])
    close_grad(neg.grad, case['grad_neg'])


def latent_head(case):
    predictor = {
        'type': 'NonLinearNeckV2',
        'in_channels': 16,
        'hid_channels': 24,
        'out_channels': 16,
        'with_avg_pool': False,
    }
    head = LatentPredictHead(predictor, size_average=case['size_average'])
    head.load_state_dict(case['head'])
    return head


@pytest.mark.parametrize('case', GOLDEN['latent_predict'], ids=lambda c: f'average={c["size_average"]}')
def test_latent_predict_head(case):
    head, x = latent_head(case), case['input'].clone().requires_grad_()
    loss = head(x, case['target'])['loss']
    loss.backward()
    close(loss, case['loss'])
    close_grad(x.grad, case['grad_input'])
    for name, parameter in head.named_parameters():
        # A constant before a batch norm: its gradient is rounding error in both implementations.
        if 'mlp.0.bias' in name:
            assert parameter.grad.abs().max() < 1e-5
        else:
            close_grad(parameter.grad, case['grads'][name])
    for name, value in case['bn_after'].items():
        close(head.state_dict()[name], value)


def test_byol():
    case = GOLDEN['byol']
    model = BYOL(
        Scale(case['online_scale']), Pool(), latent_head(GOLDEN['latent_predict'][0]), base_momentum=case['momentum']
    )
    with torch.no_grad():
        model.target_backbone.scale.copy_(case['target_scale'])
    step = model({'img': as_views(case['view1'], case['view2'])})
    step.total.backward()
    close(step.total, case['loss'])
    close_grad(model.backbone.scale.grad, case['grad_online_scale'])
    for name, value in case['bn_after'].items():
        close(model.head.state_dict()[name], value)
    model.after_update([step.carry], progress=0.0)
    close(model.target_backbone.scale, case['target_scale_after_update'])


@pytest.mark.parametrize('case', GOLDEN['simclr'], ids=lambda c: f'T={c["temperature"]}')
def test_simclr(case):
    z = case['z'].clone().requires_grad_()
    model = SimCLR(nn.Identity(), Pool(), ContrastiveHead(case['temperature']))
    step = model({'img': z.reshape(len(z) // 2, 2, -1, 1, 1)})
    step.total.backward()
    close(step.total, case['loss'])
    close_grad(z.grad, case['grad_z'])
    close(step.embedding, l2_normalize(case['z'].detach())[0::2])


def test_moco():
    case = GOLDEN['moco']
    head = ContrastiveHead(case['temperature'])
    model = MOCO(Linear(case['weight_q']), Pool(), head, queue_len=16, feat_dim=8, momentum=case['momentum'])
    with torch.no_grad():
        model.key_backbone.weight.copy_(case['weight_k'])
        model.queue.copy_(case['queue'])
        model.queue_ptr.fill_(case['queue_ptr'])
    model.after_update([], progress=0.0)  # the reference moves the key encoder before it computes the keys
    torch.testing.assert_close(model.key_backbone.weight.detach(), case['weight_k_after'], rtol=1e-6, atol=0)
    step = model({'img': as_views(case['im_q'], case['im_k'])})
    close(step.total, case['loss'])
    step.total.backward()
    close_grad(model.backbone.weight.grad, case['grad_weight_q'])
    close(step.embedding, case['q'])
    close(step.carry['keys'], case['k'])
    close(model.queue, case['queue'])  # untouched so far
    model.after_update([step.carry], progress=0.0)
    close(model.queue, case['queue_after'])
    assert int(model.queue_ptr) == case['queue_ptr_after']


@pytest.mark.parametrize('kind', ['adaptive', 'specified'])
def test_multi_cls_head(kind):
    case = MULTI[kind]
    norm = {'type': 'BN', 'affine': case['affine']}
    head = MultiClsHead(case['pool_type'], case['in_indices'], norm_cfg=norm, num_classes=case['num_classes'])
    assert head.state_dict().keys() == case['head'].keys()
    head.load_state_dict(case['head'])
    maps = [half.float() for half in case['feats_half']]
    assert [list(m.shape) for m in head.pool(maps)] == [list(s) for s in case['pool_sizes']]
    head.eval()
    for ours, theirs in zip(head(maps).values(), case['scores_eval'], strict=True):
        close(ours, theirs)
    logits = head.train()(maps)
    assert list(logits) == [f'head{i}' for i in range(len(maps))]
    for ours, theirs in zip(logits.values(), case['scores_train'], strict=True):
        close(ours, theirs)
    out = head.loss(logits, case['labels'])
    assert out.keys() == case['losses'].keys()
    for key, value in case['losses'].items():
        close(out[key], value.reshape(()))
    sum(value for key, value in out.items() if key.startswith('loss')).backward()
    for fc, grad in zip(head.fcs, case['grad_fc_bias'], strict=True):
        close_grad(fc.bias.grad, grad)
