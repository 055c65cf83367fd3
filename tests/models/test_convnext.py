"""ConvNeXt and ConvNeXt V2 against reference numbers and timm, and their options."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from selfsup.errors import ConfigError, ShapeError
from selfsup.models.backbones import ConvNeXt, ConvNeXtV2
from selfsup.models.layers.drop_path import DropPath
from selfsup.models.layers.grn import GRN
from selfsup.models.layers.layer_norm2d import LayerNorm2d

GOLDEN = torch.load(Path(__file__).parents[1] / 'golden' / 'convnextv2_cls.pt', weights_only=True)
TINY = {'depths': (1, 1, 2, 1), 'dims': (8, 16, 32, 64)}
# Parameters with the classifier of 1000 classes, and of the backbone alone.
CLASSIFIERS = {
    (ConvNeXtV2, 'atto'): 3_708_400,
    (ConvNeXtV2, 'femto'): 5_233_240,
    (ConvNeXtV2, 'pico'): 9_066_280,
    (ConvNeXtV2, 'nano'): 15_623_800,
    (ConvNeXtV2, 'tiny'): 28_635_496,
    (ConvNeXtV2, 'base'): 88_717_800,
    (ConvNeXtV2, 'large'): 197_956_840,
    (ConvNeXtV2, 'huge'): 660_289_640,
    (ConvNeXt, 'tiny'): 28_589_128,
    (ConvNeXt, 'small'): 50_223_688,
    (ConvNeXt, 'base'): 88_591_464,
    (ConvNeXt, 'large'): 197_767_336,
    (ConvNeXt, 'xlarge'): 350_196_968,
}
BACKBONES = {
    (ConvNeXt, 'small'): 49_453_152,
    (ConvNeXt, 'base'): 87_564_416,
    (ConvNeXt, 'large'): 196_227_264,
    (ConvNeXtV2, 'atto'): 3_386_760,
    (ConvNeXtV2, 'base'): 87_690_752,
    (ConvNeXtV2, 'huge'): 657_467_008,
}


def size(kind, **kwargs):
    with torch.device('meta'):
        return sum(p.numel() for p in kind(**kwargs).parameters())


def test_golden_classifier():
    model = ConvNeXtV2(**TINY, num_classes=10).eval()
    assert list(model.state_dict()) == list(GOLDEN['model'])
    model.load_state_dict(GOLDEN['model'])
    logits = model.classify(GOLDEN['input'])
    torch.testing.assert_close(
        model.norm(model(GOLDEN['input'])[-1].mean((2, 3))), GOLDEN['features'], rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(logits, GOLDEN['logits'], rtol=1e-4, atol=1e-5)
    loss = F.cross_entropy(logits, GOLDEN['labels'])
    torch.testing.assert_close(loss, GOLDEN['loss'], rtol=1e-6, atol=1e-6)
    loss.backward()
    for name, parameter in model.named_parameters():
        expected = GOLDEN['grads'][name]
        assert (parameter.grad - expected).abs().max() <= 1e-4 * expected.abs().max(), name


@pytest.mark.parametrize(('kind', 'arch'), CLASSIFIERS, ids=lambda v: getattr(v, '__name__', v))
def test_sizes_of_classifiers(kind, arch):
    assert size(kind, arch=arch, num_classes=1000) == CLASSIFIERS[kind, arch]


@pytest.mark.parametrize(('kind', 'arch'), BACKBONES, ids=lambda v: getattr(v, '__name__', v))
def test_sizes_of_backbones(kind, arch):
    assert size(kind, arch=arch) == BACKBONES[kind, arch]


def test_state_dict_entries_of_the_reference():
    with torch.device('meta'):
        assert len(ConvNeXt('small').state_dict()) == 340
        assert len(ConvNeXtV2('atto', num_classes=1000).state_dict()) == 140
        names = {name.split('.', 3)[-1] for name in ConvNeXt('tiny').state_dict() if name.startswith('stages.')}
    assert names == {
        'gamma',
        *(f'{part}.{end}' for part in ('dwconv', 'norm', 'pwconv1', 'pwconv2') for end in ('weight', 'bias')),
    }


def test_start_is_the_official_one():
    torch.manual_seed(0)
    model = ConvNeXtV2('atto')
    big = torch.cat([p.flatten() for name, p in model.named_parameters() if p.dim() > 1 and 'grn' not in name])
    assert big.std().item() == pytest.approx(0.02, rel=0.01) and abs(big.mean()) < 1e-4
    assert all(not p.any() for name, p in model.named_parameters() if name.endswith('.bias') or 'grn' in name)
    assert all((block.gamma == 1e-6).all() for stage in ConvNeXt(**TINY).stages for block in stage)
    rates = [block.drop_path.rate for stage in ConvNeXt(**TINY, drop_path_rate=0.4).stages for block in stage]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_chosen_maps_and_what_is_never_trained():
    x = torch.randn(2, 3, 64, 96)
    every = ConvNeXt(**TINY, out_indices=(0, 1, 2, 3, 4))
    maps = every(x)
    assert [tuple(m.shape) for m in maps] == [
        (2, 8, 16, 24),
        (2, 8, 16, 24),
        (2, 16, 8, 12),
        (2, 32, 4, 6),
        (2, 64, 2, 3),
    ]
    assert every.channels == (8, 8, 16, 32, 64) and every.out_channels == 64
    assert ConvNeXt(**TINY).channels == (64,)
    early = ConvNeXt(**TINY, out_indices=(0, 2))
    early.load_state_dict(every.state_dict())
    stem, second = early(x)
    assert torch.equal(stem, maps[0]) and torch.equal(second, maps[2])
    (stem.sum() + second.sum()).backward()
    assert all((p.grad is not None) == p.requires_grad for p in early.parameters())
    assert sum(p.requires_grad for p in early.parameters()) < sum(1 for _ in early.parameters())


@pytest.mark.parametrize('frozen', [-1, 0, 2])
def test_frozen_stages(frozen):
    model = ConvNeXtV2(**TINY, frozen_stages=frozen, drop_path_rate=0.5).train()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    for i in range(4):
        assert (f'downsample_layers.{i}.0.bias' in trained) == (i >= max(frozen, 0 if frozen < 0 else 1))
        assert (f'stages.{i}.0.norm.bias' in trained) == (i >= frozen)
        assert model.stages[i].training == (i >= frozen)


def test_one_block_alone_equals_the_formula():
    torch.manual_seed(0)
    grn, x = GRN(5), torch.randn(2, 3, 4, 5)
    with torch.no_grad():
        grn.gamma.normal_()
        grn.beta.normal_()
    for scope, dims in (('image', (1, 2)), ('batch', (0, 1, 2))):
        grn.scope = scope
        norm = x.square().sum(dims, keepdim=True).sqrt()
        expected = grn.gamma * (x * norm / (norm.mean(-1, keepdim=True) + 1e-6)) + grn.beta + x
        torch.testing.assert_close(grn(x), expected, rtol=1e-5, atol=1e-6)


def test_grn_in_half_precision_does_not_overflow():
    grn = GRN(4).half()
    with torch.no_grad():
        grn.gamma.fill_(1)
    x = torch.full((1, 64, 64, 4), 60.0, dtype=torch.float16, requires_grad=True)  # sum of squares: 1.5e7
    out = grn(x)
    out.float().sum().backward()
    assert out.dtype == torch.float16 and torch.isfinite(x.grad).all()
    torch.testing.assert_close(out, torch.full_like(out, 120.0))
    zero = torch.zeros(1, 2, 2, 4, requires_grad=True)
    GRN(4)(zero).sum().backward()
    assert torch.isfinite(zero.grad).all()


def test_layer_norm_of_maps():
    norm, x = LayerNorm2d(6), torch.randn(2, 6, 3, 4)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    centred = x - x.mean(1, keepdim=True)
    expected = (
        centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt() * norm.weight[:, None, None]
        + norm.bias[:, None, None]
    )
    torch.testing.assert_close(norm(x), expected, rtol=1e-5, atol=1e-5)


def test_drop_path_drops_whole_images():
    torch.manual_seed(0)
    layer, x = DropPath(0.25), torch.ones(4000, 2, 1, 1)
    rows = layer(x).flatten(1)
    assert sorted(set(rows.flatten().tolist())) == pytest.approx([0, 4 / 3]) and torch.equal(rows[:, 0], rows[:, 1])
    assert (rows[:, 0] > 0).float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert layer.eval()(x) is x


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'arch': 'tinny'}, "Did you mean 'tiny'?"),
        ({}, 'needs arch'),
        ({'depths': (1, 1), 'dims': (8,)}, 'equally many'),
        ({'depths': (1, 0), 'dims': (8, 8)}, 'depths.1=0: must be a whole number >= 1'),
        ({**TINY, 'out_indices': (2, 1)}, 'ascending'),
        ({**TINY, 'out_indices': (5,)}, 'to 4 (last stage)'),
        ({**TINY, 'drop_path_rate': 1.0}, '[0, 1)'),
        ({**TINY, 'kernel_size': 6}, 'odd'),
        ({**TINY, 'frozen_stages': 5}, '-1 (nothing) to 4'),
        ({**TINY, 'num_classes': 3, 'out_indices': (3,)}, 'needs the last stage'),
        ({**TINY, 'grn_scope': 'batches'}, "must be 'image' or 'batch'"),
        ({**TINY, 'grn_scope': None}, "grn_scope=None: must be 'image' or 'batch'"),
    ],
)
def test_config_errors(kwargs, message):
    with pytest.raises(ConfigError) as error:
        ConvNeXtV2(**kwargs)
    assert message in str(error.value) and '\n' not in str(error.value)


def test_wrong_images():
    model = ConvNeXt(**TINY)
    with pytest.raises(ShapeError, match='in_channels=3, but the images have 2'):
        model(torch.zeros(1, 2, 32, 32))
    with pytest.raises(ShapeError, match='16 x 40 pixels'):
        model(torch.zeros(1, 3, 16, 40))
    with pytest.raises(ConfigError, match='no classifier'):
        model.classify(torch.zeros(1, 3, 32, 32))
