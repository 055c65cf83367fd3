"""A family of networks is one file and one entry: a made-up one is loaded, told and converted, and no other file names a network."""

import ast
import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

import selfsup.weights
from selfsup.errors import CheckpointError, ConfigError
from selfsup.registry import BACKBONES
from selfsup.weights import families
from selfsup.weights.convert import convert, load_network
from selfsup.weights.families.family import Family, Library, Spelling, blocks

from .networks import Holder, assert_equal, loaded, randomised, save

NETWORKS = re.compile(r'res_?ne|convnext|slak', re.IGNORECASE)


class Chain(nn.Module):
    """Convolutions after each other, one per stage."""

    def __init__(self, widths: tuple[int, ...] = (4, 8), out_indices: tuple[int, ...] = (1, 2)) -> None:
        super().__init__()
        self.link = nn.ModuleList(
            nn.ModuleList([nn.Conv2d(a, b, 3, 2, 1)]) for a, b in zip((3, *widths), widths, strict=False)
        )
        self.out_channels = widths[-1]

    def forward(self, x):
        maps = []
        for (convolution,) in self.link:
            maps.append(x := convolution(x))
        return tuple(maps)


def their_chain(weights):
    """The names of a library that counts from one."""
    return {re.sub(r'link\.(\d+)\.0', lambda m: f'conv_{int(m[1]) + 1}', name): v for name, v in weights.items()}


def our_chain(weights):
    return {re.sub(r'conv_(\d+)', lambda m: f'link.{int(m[1]) - 1}.0', name): v for name, v in weights.items()}


def infer(weights, source):
    stages = len(blocks(weights, CHAIN.block))
    return {'type': 'Chain', 'widths': tuple(len(weights[f'link.{stage}.0.bias']) for stage in range(stages))}


def library(network):
    weights = their_chain(network.weights())
    widths = network.config['widths']

    def build():
        pairs = zip((3, *widths), widths, strict=False)
        return nn.Sequential(OrderedDict((f'conv_{i}', nn.Conv2d(*p, 3, 2, 1)) for i, p in enumerate(pairs, 1)))

    return Library(weights, build, lambda model, images: model(images))


CHAIN = Family(
    name='Chain',
    networks=('Chain',),
    types=('Chain',),
    spellings=(
        Spelling('our names', re.compile(r'link\.\d+\.0\.weight')),
        Spelling("a library's names", re.compile(r'conv_\d+\.weight'), our_chain),
    ),
    block=re.compile(r'link\.(\d+)\.(\d+)\.'),
    infer=infer,
    as_used=lambda config: ({**config, 'out_indices': (1, 2)}, ('a chain has no loops',)),
    libraries={'torchvision': library},
)


@pytest.fixture
def chain(monkeypatch):
    """A trained chain, its family known."""
    monkeypatch.setattr(families, 'FAMILIES', (*families.FAMILIES, CHAIN))
    BACKBONES.register_module(module=Chain, force=True)
    yield randomised(Chain((4, 6)))
    BACKBONES.module_dict.pop('Chain')


@pytest.mark.parametrize('spelled', [dict, their_chain])
@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.encoder_q.', 'student.trunk.'])
def test_a_file_of_it_is_loaded(chain, spelled, prefix, tmp_path):
    weights = {f'{prefix}{name}': value for name, value in spelled(chain.state_dict()).items()}
    into = Chain((4, 6))
    report = loaded(into, save({'state_dict': weights}, tmp_path / 'in.pth'))
    assert not report.missing and not report.unused and 'Chain' in report.origin
    assert_equal(into, chain.state_dict())


def test_it_is_told_from_its_weights_and_converted(chain, tmp_path):
    source = save(their_chain(chain.state_dict()), tmp_path / 'in.pth')
    network = load_network(source)
    assert network.config == {'type': 'Chain', 'widths': (4, 6), 'out_indices': (1, 2)}
    assert network.layout == "bare Chain, a library's names" and network.notes == ('a chain has no loops',)
    for to, ending in (('torchvision', 'pth'), ('safetensors', 'safetensors'), ('onnx', 'onnx')):
        done = convert(source, tmp_path / f'out.{ending}', to, check=True, size=32)
        assert max(difference.relative for difference in done.differences) < 1e-5
    with pytest.raises(ConfigError, match=r'timm has no Chain\(widths=\(4, 6\)\)\. Use --to onnx or safetensors'):
        convert(source, tmp_path / 'timm.pth', 'timm')
    with pytest.raises(CheckpointError, match=r'known by its weights for ResNet, .*SLaK and Chain only'):
        families.infer({'a.weight': torch.ones(1)}, 'x.pth')


def test_without_its_entry_it_is_not_known(tmp_path):
    with pytest.raises(CheckpointError, match='has no backbone'):
        loaded(Holder(nn.Linear(2, 2)).backbone, save(their_chain(Chain().state_dict()), tmp_path / 'in.pth'))


def named_networks(tree):
    """Strings and identifiers with the name of a network, docstrings apart."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
    }
    for node in ast.walk(tree):
        words = [getattr(node, field, None) for field in ('id', 'attr', 'name', 'arg', 'module')]
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            words.append(node.value)
        yield from (word for word in words if isinstance(word, str) and NETWORKS.search(word))


ROOM = Path(selfsup.weights.__file__).parent


@pytest.mark.parametrize('path', sorted(ROOM.rglob('*.py')), ids=lambda path: str(path.relative_to(ROOM)))
def test_no_other_file_of_the_room_names_a_network(path):
    if path.parent.name != 'families' or path.name == 'family.py':
        assert list(named_networks(ast.parse(path.read_text()))) == []


def test_the_scan_sees_names():
    assert len(list(named_networks(ast.parse((ROOM / 'families' / 'slak.py').read_text())))) > 5
