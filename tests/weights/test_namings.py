"""Weights of a backbone under the names of timm and of the authors, and back."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from selfsup.errors import ConfigError
from selfsup.models.backbones import ConvNeXt, ConvNeXtV2, TIMMBackbone
from selfsup.weights.extract import backbone_weights, extract_backbone
from selfsup.weights.families import convnext

from .networks import GOLDEN, SIZE, Holder, assert_equal, golden, loaded


def randomised(model):
    """GRN starts as the identity: give every parameter a value that shows."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@pytest.mark.parametrize(
    ('kind', 'name', 'dims'),
    [
        (ConvNeXtV2, 'convnextv2_atto', (40, 80, 160, 320)),
        (ConvNeXt, 'convnext_atto', (40, 80, 160, 320)),
        (ConvNeXtV2, 'convnextv2_tiny', (96, 192, 384, 768)),
        (ConvNeXt, 'convnext_tiny', (96, 192, 384, 768)),
    ],
)
def test_timm_and_back(kind, name, dims, tmp_path):
    import timm

    sizes = {'depths': (1, 1, 2, 1), 'dims': dims}
    theirs = randomised(timm.create_model(name, **sizes, num_classes=3))
    torch.save(theirs.state_dict(), tmp_path / 'timm.pth')
    ours = kind(**sizes, num_classes=3).eval()
    report = loaded(ours, tmp_path / 'timm.pth')
    assert "timm's names" in report.origin and not report.unused and not report.missing
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.classify(x), theirs(x), rtol=1e-3, atol=1e-4)
    again = convnext.to_timm(ours.state_dict())
    assert again.keys() == theirs.state_dict().keys()
    assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in again.items())
    assert_equal(ours, convnext.to_official(again))
    assert (
        convnext.to_timm(again).keys() == again.keys()
        and convnext.to_official(ours.state_dict()).keys() == ours.state_dict().keys()
    )


def test_the_tool(tmp_path):
    tool, source, target = (
        Path(__file__).parents[2] / 'tools/extract_backbone_weights.py',
        GOLDEN / 'fcmae_model.pt',
        tmp_path / 'out.pth',
    )
    done = subprocess.run(
        [sys.executable, tool, source, target, '--naming', 'timm'], capture_output=True, text=True, check=True
    )
    assert done.stdout == f'{target}: 66 tensors\n'
    expected = convnext.to_timm(golden('fcmae_dense')['model'])
    weights = torch.load(target, weights_only=True)['state_dict']
    assert weights.keys() == expected.keys() and all(
        torch.equal(value, expected[name]) for name, value in weights.items()
    )


@pytest.mark.parametrize('naming', ['own', 'official', 'timm'])
def test_extraction_in_other_names(naming, tmp_path):
    import timm

    path, number = extract_backbone(GOLDEN / 'spark_convnext_model.pt', tmp_path / 'out.pth', naming=naming)
    weights = torch.load(path, weights_only=True)['state_dict']
    assert number == 61
    if naming == 'timm':
        model = timm.create_model('convnext_small', **SIZE, num_classes=0, conv_mlp=True)
        missing, unexpected = model.load_state_dict(weights, strict=False)
        assert unexpected == [] and all(key.startswith('head.') for key in missing)
    else:
        assert weights.keys() == golden('spark_convnext_timm_style').keys()


def test_extraction_from_a_run_with_a_timm_backbone():
    model = Holder(TIMMBackbone('convnext_atto', depths=(1, 1, 1, 1)))
    weights = backbone_weights({'state_dict': model.state_dict()}, 'x.pth', 'official')
    assert convnext.is_official(weights) and weights['stages.0.0.pwconv1.weight'].dim() == 2
    assert set(backbone_weights({'state_dict': model.state_dict()}, 'x.pth', 'timm')) == set(
        model.backbone.model.state_dict()
    )
    bare = backbone_weights(golden('spark_convnext_timm_style'), 'x.pth', 'timm')
    assert convnext.is_timm(bare)
    with pytest.raises(ConfigError, match="use 'own', 'official', 'timm'"):
        backbone_weights({'state_dict': model.state_dict()}, 'x.pth', 'facebook')
