"""SLaK against reference numbers, its merged form, its options, and training inside the methods."""

import copy
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from selfsup.errors import ConfigError
from selfsup.models.backbones import ConvNeXt, SLaK
from selfsup.models.backbones.large_kernel_unit import LargeKernelUnit
from selfsup.models.large_kernel.conv import LargeKernelConv2d
from selfsup.models.visible import encode_visible
from selfsup.registry import BACKBONES

from .tiny_models import tiny_batch, tiny_model
from .visible_cases import assert_same, ragged, randomised

FOLDER = Path(__file__).parents[1] / 'golden'
GOLDENS = ('decom', 'nodecom', 'decom_nobn')
TINY = {'depths': (1, 1, 2, 1), 'dims': (8, 12, 16, 24), 'kernel_size': (11, 9, 7, 5, 3)}
# parameters with 1000 classes at width factor 1.3
SIZES = {'tiny': 50_703_838, 'small': 91_131_820, 'base': 157_950_792, 'large': 346_624_518}


def golden(name, **kwargs):
    """The network of a golden file with its weights, and the file."""
    content = torch.load(FOLDER / f'slak_{name}_golden.pt', weights_only=True)
    c = content['config']
    model = SLaK(
        depths=c['depths'],
        dims=c['dims'],
        width_factor=c['width_factor'],
        kernel_size=c['kernel_size'],
        decom=c['Decom'],
        norm_cfg={'type': 'BN'} if c['bn'] else None,
        num_classes=c['num_classes'],
        **kwargs,
    )
    if not kwargs:
        model.load_state_dict(torch.load(FOLDER / f'slak_{name}_model.pt', weights_only=True)['model'])
    return model, content


def shaken(seed=0, **kwargs):
    """A tiny SLaK in which no weight and no statistic is at 0 or 1, in eval mode."""
    torch.manual_seed(seed)
    model = SLaK(**{**TINY, **kwargs})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        for name, buffer in model.named_buffers():
            if 'running_mean' in name:
                buffer.normal_()
            elif 'running_var' in name:
                buffer.uniform_(0.5, 2)
    return model.eval()


def close_to_largest(found, expected, limit, where=''):
    assert (found - expected).abs().max() <= limit * expected.abs().max(), where


# ---- reference numbers ----


@pytest.mark.parametrize('name', GOLDENS)
def test_golden_evaluation(name):
    model, content = golden(name)
    assert list(model.state_dict()) == list(torch.load(FOLDER / f'slak_{name}_model.pt', weights_only=True)['model'])
    for case in content['cases']:
        model.eval().zero_grad()
        logits = model.classify(case['input'])
        torch.testing.assert_close(logits, case['logits_eval'], rtol=1e-4, atol=1e-5)
        loss = F.cross_entropy(logits, case['labels'])
        torch.testing.assert_close(loss, case['loss_eval'], rtol=1e-5, atol=1e-6)
        loss.backward()
        assert case['grads_eval']
        for key, expected in case['grads_eval'].items():
            close_to_largest(model.get_parameter(key).grad, expected, 1e-3, key)


@pytest.mark.parametrize('name', GOLDENS)
def test_golden_training(name):
    stored, content = golden(name)
    for case in content['cases']:
        model = copy.deepcopy(stored).train()
        logits = model.classify(case['input'])
        torch.testing.assert_close(logits, case['logits_train'], rtol=1e-4, atol=1e-5)
        loss = F.cross_entropy(logits, case['labels'])
        torch.testing.assert_close(loss, case['loss_train'], rtol=1e-5, atol=1e-6)
        loss.backward()
        for key, expected in case['grads_train'].items():
            close_to_largest(model.get_parameter(key).grad, expected, 1e-3, key)
        assert case['grad_norms_train'].keys() == dict(model.named_parameters()).keys()
        for key, expected in case['grad_norms_train'].items():
            assert model.get_parameter(key).grad.norm().item() == pytest.approx(expected, rel=1e-3, abs=1e-7), key
        assert bool(case['bn_after']) == (name != 'decom_nobn')
        for key, expected in case['bn_after'].items():
            torch.testing.assert_close(model.state_dict()[key].to(expected.dtype), expected, rtol=1e-4, atol=1e-5)


def test_golden_merged():
    model, content = golden('nodecom')
    model.eval().merge()
    assert list(model.state_dict()) == content['merged_names']
    for stage in (0, 3):
        for key, expected in content[f'merged_stage{stage}'].items():
            found = model.get_parameter(f'stages.{stage}.0.large_kernel.lkb_reparam.{key}')
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for case, expected in zip(content['cases'], content['merged_logits_eval'], strict=True):
        torch.testing.assert_close(model.classify(case['input']), expected, rtol=1e-4, atol=1e-5)


def test_sizes():
    with torch.device('meta'):
        for arch, number in SIZES.items():
            assert sum(p.numel() for p in SLaK(arch, width_factor=1.3, num_classes=1000).parameters()) == number
        maskable = [
            p.numel() for p in SLaK('tiny', width_factor=1.3, num_classes=1000).parameters() if p.dim() in (2, 4)
        ]
        assert sum(maskable) == 50_576_524
        assert SLaK('base', width_factor=1.3, out_indices=(1, 2, 3, 4)).channels == (166, 332, 665, 1331)
        for norm_cfg, number in (({'type': 'BN'}, 28_595_752), (None, 28_582_504)):
            model = SLaK('tiny', kernel_size=(7, 7, 7, 7, 100), decom=False, norm_cfg=norm_cfg, num_classes=1000)
            assert sum(p.numel() for p in model.parameters()) == number


def test_seven_by_seven_is_convnext():
    """With one 7 x 7 kernel and no norm the only difference is the bias of ConvNeXt's depthwise convolution."""
    sizes = {'depths': (1, 1, 2, 1), 'dims': (8, 12, 16, 24), 'drop_path_rate': 0.1}
    ours = SLaK(**sizes, kernel_size=(7, 7, 7, 7, 100), decom=False, norm_cfg=None)
    theirs = ConvNeXt(**sizes)
    weights = {key.replace('large_kernel.lkb_origin.conv', 'dwconv'): value for key, value in ours.state_dict().items()}
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert unexpected == [] and missing and all(key.endswith('dwconv.bias') for key in missing)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours.eval()(x)[-1], theirs.eval()(x)[-1], rtol=1e-5, atol=1e-6)


# ---- merging ----


@pytest.mark.parametrize('size', [(32, 64), (64, 96)], ids=str)
@pytest.mark.parametrize('square', [False, True])
@pytest.mark.parametrize(
    'kwargs',
    [
        {},
        {'decom': False},
        {'norm_cfg': None},
        {'kernel_size': (5, 5, 3, 3, 5)},
        {'kernel_size': (5, 5, 3, 3, 8), 'decom': False},
        {'norm_cfg': {'type': 'BN', 'affine': False, 'eps': 0.1}},
    ],
    ids=str,
)
def test_merged_gives_the_same_maps(kwargs, square, size):
    model, x = shaken(out_indices=(1, 2, 3, 4), **kwargs), torch.randn(2, 3, *size)
    expected = model(x)
    assert model.merge(square) is model
    for found, wanted in zip(model(x), expected, strict=True):
        close_to_largest(found, wanted, 1e-5)
    decom = kwargs.get('decom', True) and not square
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # a merged network has no norms to warn about
        fresh = SLaK(
            **{**TINY, 'out_indices': (1, 2, 3, 4), **kwargs, 'decom': decom, 'norm_cfg': {'type': 'SyncBN'}},
            merged=True,
        ).eval()
    if kwargs.get('kernel_size', (8,))[-1] == 5 and square:  # N = 5 above K = 3: the whole is 5 x 5
        assert model.stages[3][0].large_kernel.lkb_reparam.kernel_size == (5, 5)
        return
    assert list(fresh.state_dict()) == list(model.state_dict())
    fresh.load_state_dict(model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(fresh(x), model(x), strict=True))


def test_merging_twice_and_then_to_a_square():
    model, x = shaken(), torch.randn(1, 3, 64, 64)
    (expected,) = model(x)
    once = copy.deepcopy(model.merge().state_dict())
    assert all(torch.equal(value, once[key]) for key, value in model.merge().state_dict().items())
    unit = model.merge(square=True).stages[0][0].large_kernel
    assert [name for name, _ in unit.named_parameters()] == ['lkb_reparam.weight', 'lkb_reparam.bias']
    close_to_largest(model(x)[0], expected, 1e-5)
    model.merge()  # as one kernel it cannot become two
    assert unit.lkb_reparam.weight.shape == (8, 1, 11, 11)
    assert all(isinstance(m, LargeKernelConv2d) for m in unit.children())  # so that every implementation keeps working


def test_merging_keeps_dtype_and_what_is_frozen():
    model = shaken(frozen_stages=2).bfloat16().merge()
    assert all(p.dtype == torch.bfloat16 for p in model.parameters())
    trained = {stage: [p.requires_grad for p in model.stages[stage][0].large_kernel.parameters()] for stage in range(4)}
    assert trained == {0: [False] * 3, 1: [False] * 3, 2: [True] * 3, 3: [True] * 3}
    assert not model.stages[0][0].large_kernel.LoRA1_reparam.training


def test_merging_wants_running_statistics_and_changes_nothing_otherwise():
    model = shaken(frozen_stages=2).train()
    names = list(model.state_dict())
    with pytest.raises(ConfigError, match=r'batch norm of LoRA1 is in train mode.*call eval\(\) first'):
        model.merge()
    with pytest.raises(ConfigError, match='BatchNorm2d without running statistics'):
        shaken(norm_cfg={'type': 'BN', 'track_running_stats': False}).merge()
    with pytest.raises(ConfigError, match='has a GroupNorm'):
        shaken(norm_cfg={'type': 'GN', 'num_groups': 2}).merge()
    assert list(model.state_dict()) == names
    frozen = shaken(frozen_stages=4).train()  # nothing of it is in train mode
    frozen.merge()
    shaken(norm_cfg=None).train().merge()


def test_the_unit_alone():
    """The sum of its branches, each a convolution with zeros around the map."""
    torch.manual_seed(0)
    unit, x = LargeKernelUnit(3, 7, 3).eval(), torch.randn(2, 3, 5, 9)
    expected = (
        sum(
            F.conv2d(x, w, padding=(w.shape[2] // 2, w.shape[3] // 2), groups=3)
            for w in (unit.LoRA1.conv.weight, unit.LoRA2.conv.weight, unit.small_conv.conv.weight)
        )
        / (1 + 1e-5) ** 0.5
    )
    torch.testing.assert_close(unit(x), expected, rtol=1e-5, atol=1e-6)
    assert unit.LoRA1.conv.weight.shape == (3, 1, 7, 3) and unit.LoRA2.conv.weight.shape == (3, 1, 3, 7)
    assert not hasattr(LargeKernelUnit(3, 3, 3), 'small_conv')


# ---- options ----


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'arch': 'tinny'}, "Did you mean 'tiny'?"),
        ({}, 'SLaK needs arch'),
        ({**TINY, 'width_factor': 0.1}, 'width_factor=0.1: it must leave each'),
        ({**TINY, 'width_factor': float('nan')}, 'width_factor=nan'),
        ({**TINY, 'width_factor': '1.3'}, "width_factor='1.3'"),
        ({**TINY, 'kernel_size': 51}, 'kernel_size=51: must be a list of whole numbers >= 1'),
        ({**TINY, 'kernel_size': (51, 49, 47, 5)}, 'give 5 whole numbers'),
        ({**TINY, 'kernel_size': '51 49 47 13 5'}, 'must be a list of whole numbers >= 1'),
        ({**TINY, 'kernel_size': (50, 49, 47, 13, 5)}, 'edges must be odd'),
        ({**TINY, 'kernel_size': (7, 7, 7, 7, 100)}, 'decom=True: edges must be odd'),
        ({**TINY, 'kernel_size': (7, 7, 7, 3, 4), 'decom': False}, 'edges must be odd'),
        ({**TINY, 'norm_cfg': 'BN'}, "norm_cfg='BN': must be dict"),
        ({**TINY, 'norm_cfg': {'type': 'BNN'}}, "Did you mean 'BN"),
        ({**TINY, 'drop_path_rate': 1.0}, 'SLaK drop_path_rate=1.0'),
        ({**TINY, 'out_indices': (5,)}, 'SLaK out_indices=(5,)'),
    ],
)
def test_config_errors(kwargs, message):
    with pytest.raises(ConfigError) as error:
        SLaK(**kwargs)
    assert message in str(error.value) and '\n' not in str(error.value)


def test_frozen_stages_keep_their_statistics():
    model = SLaK(**TINY, frozen_stages=2).train()
    before = copy.deepcopy(model.state_dict())
    model(torch.randn(2, 3, 64, 64))
    moved = {key.split('.')[1] for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {'2', '3'}


# ---- inside the methods ----


def test_visible_equals_masked():
    assert_same(
        randomised(SLaK(**TINY, out_indices=(1, 2, 3, 4))),
        torch.randn(2, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),
        ragged(2, 2, 3),
    )


def test_merged_on_visible_blocks():
    model, img, visible = shaken(), torch.randn(2, 3, 64, 96), ragged(2, 2, 3)
    expected = encode_visible(model, img, visible)[-1].dense()
    for path in ('visible', 'masked'):
        merged = copy.deepcopy(model).merge()
        hidden = ~visible[:, None].expand_as(expected)
        found = encode_visible(merged, img, visible, path)[-1].dense()
        close_to_largest(found, expected, 1e-5)
        assert not found[hidden].any()


@pytest.mark.parametrize('name', ['MOCO', 'SimCLR', 'BYOL', 'SparK', 'FCMAE'])
def test_two_steps_of_a_method(name):
    torch.manual_seed(0)
    backbone = BACKBONES.build({'type': 'SLaK', **TINY, 'layer_scale_init_value': 1.0, 'drop_path_rate': 0.1})
    model = tiny_model(name, backbone, backbone.out_channels).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    for step in range(2):
        optimizer.zero_grad()
        found = model(tiny_batch(model))
        found.total.backward()
        assert torch.isfinite(found.total)
        assert [key for key, p in model.backbone.named_parameters() if not p.grad.any()] == []
        optimizer.step()
        model.after_update([found.carry], progress=(step + 1) / 2)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_shapes_without_numbers():
    """What counts FLOPs and what makes the decoders of masked methods fit."""
    with torch.device('meta'):
        assert [m.shape[1:] for m in SLaK(**TINY, out_indices=(1, 4))(torch.empty(1, 3, 64, 96))] == [
            (8, 16, 24),
            (24, 2, 3),
        ]
