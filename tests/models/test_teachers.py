"""Where teachers come from, what they see, and what they answer."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from selfsup.errors import CheckpointError, ConfigError, ShapeError, UnknownNameError
from selfsup.models.teachers import FileTeacher, TIMMTeacher, TorchvisionTeacher
from selfsup.models.teachers.torchvision_teacher import TorchvisionNetwork
from selfsup.models.teachers.view import renormalised, side_for
from selfsup.registry import BACKBONES

HALF = {'mean': [0.5] * 3, 'std': [0.5] * 3}  # of the test models of timm
OTHER = {'mean': [0.4, 0.5, 0.6], 'std': [0.2, 0.3, 0.4]}


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network and nothing downloaded before; without it the client of the hub would try for a minute."""
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))

    def no_network(*args, **kwargs):
        raise OSError('no route to host')

    monkeypatch.setattr('urllib.request.urlopen', no_network)
    monkeypatch.setattr('torch.hub.urlopen', no_network)


@pytest.mark.parametrize(
    ('name', 'prefix', 'token'),
    # test_vit4 has a register and no class token, test_vit3 pools by attention
    [
        ('test_vit', 1, True),
        ('test_vit3', 1, False),
        ('test_vit4', 1, False),
        ('test_resnet', 0, False),
        ('test_convnext', 0, False),
    ],
)
def test_a_timm_model_answers_what_timm_computes(name, prefix, token, tmp_path):
    torch.manual_seed(1)
    model = timm.create_model(name, num_classes=7, **({'dynamic_img_size': True} if prefix else {})).eval()
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    teacher = TIMMTeacher(name, file=str(tmp_path / 'weights.pth'))
    img = torch.randn(2, 3, 64, 96)
    answer = teacher(img, HALF)
    with torch.no_grad():
        features = model.forward_features(img)
        pooled, tokens_of_all = model.forward_head(features, pre_logits=True), features
    if features.dim() == 3:
        tokens = features[:, getattr(model, 'num_prefix_tokens', 0) :]
        features = tokens.transpose(1, 2).unflatten(2, (4, 6))  # row-major
    assert getattr(model, 'num_prefix_tokens', 0) == prefix
    torch.testing.assert_close(answer.maps, features)
    torch.testing.assert_close(answer.summary, tokens_of_all[:, 0] if token else pooled)
    assert (teacher.summary_channels, teacher.map_channels) == (answer.summary.shape[1], answer.maps.shape[1])
    assert not answer.maps.requires_grad and teacher.normalization == HALF
    # another normalisation and another size are brought to those of the teacher
    pixels = torch.rand(2, 3, 64, 96)
    means = [
        (pixels - torch.tensor(n['mean'])[:, None, None]) / torch.tensor(n['std'])[:, None, None] for n in (HALF, OTHER)
    ]
    torch.testing.assert_close(teacher(means[1], OTHER).summary, teacher(means[0], HALF).summary, atol=1e-5, rtol=1e-4)
    assert teacher.size_for(70, 100) == ((64, 96) if prefix else (70, 100))


def test_register_tokens_are_no_places(tmp_path):
    settings = {'img_size': 28, 'patch_size': 14, 'embed_dim': 16, 'depth': 1, 'num_heads': 2, 'reg_tokens': 4}
    model = timm.create_model('vit_tiny_patch16_224', num_classes=0, **settings, dynamic_img_size=True).eval()
    torch.save({'model': model.state_dict()}, tmp_path / 'vit.pth')
    given = {**settings, 'dynamic_img_size': True}
    teacher = TIMMTeacher('vit_tiny_patch16_224', file=str(tmp_path / 'vit.pth'), model_args=given, projection='mlp')
    img = torch.randn(1, 3, 42, 56)
    with torch.no_grad():
        tokens = model.forward_features(img)
    answer = teacher(img, teacher.normalization)
    assert tokens.shape[1] == 5 + 12 and answer.maps.shape == (1, 16, 3, 4)
    torch.testing.assert_close(answer.maps.flatten(2)[0].T, tokens[0, 5:])
    torch.testing.assert_close(answer.summary, tokens[:, 0])
    # the same network as a file of weights with the config of a backbone
    backbone = {'type': 'TIMMBackbone', 'model_name': 'vit_tiny_patch16_224', **given}
    again = FileTeacher(str(tmp_path / 'vit.pth'), backbone, **teacher.normalization)
    torch.testing.assert_close(again(img, teacher.normalization).summary, answer.summary)
    assert teacher.size_for(32, 50) == again.size_for(32, 50) == (28, 56)


def test_sizes():
    assert [side_for(side, 14) for side in (3, 20, 22, 224)] == [14, 14, 28, 224]
    fixed = TIMMTeacher('test_vit_relpos', pretrained=False, size=64)
    assert fixed.size_for(32, 32) == (64, 64) and fixed(torch.randn(1, 3, 32, 32), HALF).maps.shape[2:] == (4, 4)
    assert TIMMTeacher('test_vit', pretrained=False, size=96).size_for(32, 32) == (96, 96)
    with pytest.raises(ShapeError, match=r'takes images of 3 channels, these have 1\.$'):
        fixed(torch.randn(1, 1, 32, 32), HALF)
    img = torch.randn(1, 3, 4, 4)
    assert renormalised(img, HALF, {'mean': (0.5,) * 3, 'std': (0.5,) * 3}) is img


@pytest.mark.parametrize('name', ['mobilenet_v3_small', 'shufflenet_v2_x0_5', 'swin_t'])
def test_a_model_of_torchvision(name, tmp_path):
    torch.manual_seed(1)
    model = getattr(torchvision.models, name)()
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    teacher = TorchvisionTeacher(name, file=str(tmp_path / 'weights.pth'))
    img = torch.randn(1, 3, 64, 64)
    answer = teacher(img, teacher.normalization)
    model.eval()
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    seen = []
    last.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        model(img)
    torch.testing.assert_close(answer.summary, seen[0])
    assert answer.maps.dim() == 4 and answer.maps.shape[1] == teacher.map_channels and answer.maps.shape[2:] == (2, 2)
    if name != 'mobilenet_v3_small':  # whose classifier has a hidden layer
        torch.testing.assert_close(answer.maps.mean((2, 3)), answer.summary)
    assert [round(x, 3) for x in teacher.normalization['mean']] == [0.485, 0.456, 0.406]


def test_a_transformer_of_torchvision():
    vit = torchvision.models.VisionTransformer(32, 16, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16).eval()
    with torch.no_grad():
        answer = TorchvisionNetwork(vit)(torch.randn(2, 3, 32, 32))
    assert answer.summary.shape == (2, 8) and answer.maps.shape == (2, 8, 2, 2)
    with pytest.raises(ConfigError, match='has no linear layer at its end'):
        TorchvisionNetwork(nn.Conv2d(3, 3, 1))


def test_a_file_of_our_own(tmp_path):
    torch.manual_seed(0)
    config = {'type': 'ResNet', 'depth': 18, 'num_stages': 3, 'base_channels': 8, 'stem': 'cifar', 'out_indices': (3,)}
    backbone = BACKBONES.build(config).eval()
    weights = {f'backbone.{name}': value for name, value in backbone.state_dict().items()}
    torch.save({'state_dict': weights, 'meta': {'algorithm': 'Classification'}}, tmp_path / 'run.pth')
    img = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        (expected,) = backbone(img)
    teacher = FileTeacher(str(tmp_path / 'run.pth'), config, mean=[0.5] * 3, std=[0.5] * 3)
    answer = teacher(img, HALF)
    torch.testing.assert_close(answer.maps, expected)
    torch.testing.assert_close(answer.summary, expected.mean((2, 3)))
    doubles = teacher(img.double(), HALF)
    assert doubles.maps.dtype == torch.float64 and doubles.maps.sub(expected).abs().max() < 1e-4
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = teacher(img, HALF)
    assert half.maps.dtype == torch.float32 and torch.equal(half.maps, half.maps.bfloat16().float())
    published = torchvision.models.resnet18().eval()  # told from the weights
    torch.save(published.state_dict(), tmp_path / 'resnet18.pth')
    with torch.no_grad():
        body = nn.Sequential(*list(published.children())[:-2])(img)
    torch.testing.assert_close(FileTeacher(str(tmp_path / 'resnet18.pth'), **HALF)(img, HALF).maps, body)
    with pytest.raises(CheckpointError, match=r'does not exist'):
        FileTeacher(str(tmp_path / 'none.pth'))
    torch.save({'blocks.0.attn.qkv.weight': torch.ones(3, 3)}, tmp_path / 'vit.pth')
    with pytest.raises(CheckpointError, match=r'In a teacher that config is backbone=dict\(type=\.\.\.\)'):
        FileTeacher(str(tmp_path / 'vit.pth'))


def test_one_line_where_weights_are_not_to_be_had(offline, tmp_path):
    url = r'Download https://huggingface\.co/timm/test_vit\.r160_in1k/resolve/main/model\.safetensors where there is a network, put'
    with pytest.raises(ConfigError, match=url) as caught:
        TIMMTeacher('test_vit.r160_in1k')
    assert '\n' not in str(caught.value) and "file='PATH/model.safetensors'" in str(caught.value)
    with pytest.raises(ConfigError, match=r'^timm has no weights of test_vit4'):
        TIMMTeacher('test_vit4')
    with pytest.raises(
        ConfigError,
        match=r"Download https://download\.pytorch\.org/models/resnet18-\w+\.pth where .*file='PATH/resnet18-",
    ):
        TorchvisionTeacher('resnet18')
    with pytest.raises(UnknownNameError, match=r'Did you mean'):
        TIMMTeacher('test_vitt')
    with pytest.raises(UnknownNameError, match=r"Did you mean 'resnet18'"):
        TorchvisionTeacher('resnet188')
    with pytest.raises(ConfigError, match=r'there are IMAGENET1K_V1\.$'):
        TorchvisionTeacher('resnet18', weights='V9')
    with pytest.raises(ConfigError, match='leave one of them out'):
        TIMMTeacher('test_vit', file='x.pth', pretrained=False)
    other = timm.create_model('test_vit').state_dict()
    del other['norm.weight']
    torch.save(other, tmp_path / 'other.pth')
    with pytest.raises(
        CheckpointError, match=r'other\.pth does not hold the weights of timm model test_vit: .*Missing.*norm'
    ):
        TIMMTeacher('test_vit', file=str(tmp_path / 'other.pth'))
    with pytest.raises(CheckpointError, match=r'other\.pth does not hold the weights of torchvision model resnet18: '):
        TorchvisionTeacher('resnet18', file=str(tmp_path / 'other.pth'))


def test_compiled(monkeypatch):
    asked = []
    monkeypatch.setattr(
        nn.Module, 'compile', lambda module, **settings: asked.append((type(module).__name__, settings))
    )
    TIMMTeacher('test_vit', pretrained=False, compile=True)
    assert asked == [('TokenNetwork', {'dynamic': False})]


def test_mean_and_std_are_of_the_channels_of_the_images():
    with pytest.raises(ConfigError, match=r'^TIMMTeacher has a mean of 3 and a std of 1 channels'):
        TIMMTeacher('test_resnet', pretrained=False, mean=[0.5] * 3, std=[0.5])
    teacher = TIMMTeacher('test_resnet', pretrained=False)
    with pytest.raises(ShapeError, match=r'^img_norm_cfg is for 1 channels, the images have 3\.$'):
        teacher(torch.zeros(1, 3, 32, 32), {'mean': [0.5], 'std': [0.5]})
