"""Networks with numbers that show, official files, and what is done with them in several tests of this folder."""

import warnings
from pathlib import Path

import torch
from torch import nn

from selfsup.weights.convert import convert
from selfsup.weights.load import load_backbone

GOLDEN = Path(__file__).parents[1] / 'golden'
ENDINGS = {'timm': '.pth', 'torchvision': '.pth', 'detectron2': '.pkl', 'safetensors': '.safetensors', 'onnx': '.onnx'}
SIZE = {'depths': (1, 1, 2, 1), 'dims': (8, 16, 32, 64)}


def randomised(model):
    """Every parameter and statistic with a value that shows: layer scale and GRN start near the identity."""
    generator = torch.Generator().manual_seed(0)
    for name, value in model.state_dict().items():
        if name.endswith('running_var'):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif value.is_floating_point():
            scale = 0.1 if value.dim() == 1 or '.grn.' in name else 0.1 * float(value.std())
            value.add_(torch.randn(value.shape, generator=generator) * scale)
    return model.eval()


def save(content, path):
    torch.save(content, path)
    return path


def golden(name):
    return torch.load(GOLDEN / f'{name}.pt', weights_only=True)


def converted(source, folder, to, **kwargs):
    return convert(source, folder / f'out{ENDINGS[to]}', to, check=True, size=kwargs.pop('size', 32), **kwargs)


class Holder(nn.Module):
    """The least that `load_backbone` asks of an algorithm."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone, self.followed = backbone, 0

    def after_load_backbone(self):
        self.followed += 1


def loaded(backbone, path):
    """Report of loading without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model = Holder(backbone)
        report = load_backbone(model, str(path))
    assert model.followed == 1
    return report


def assert_equal(module, expected):
    own = module.state_dict()
    assert own.keys() == expected.keys()
    assert all(torch.equal(own[name], value.reshape(own[name].shape)) for name, value in expected.items())
