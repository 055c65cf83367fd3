"""Every registered algorithm keeps the contract of `Algorithm`, on several backbones. A new algorithm needs an entry in tiny_models.py."""

import copy

import pytest
import torch

from selfsup.contracts import Progress
from selfsup.models.algorithms import Algorithm, Step
from selfsup.registry import BACKBONES, MODELS

from .tiny_models import IMAGES, TINY_RESNET, tiny_batch, tiny_model

BACKBONE_CONFIGS = {
    'resnet18-tiny': TINY_RESNET,
    'resnet10t': {'type': 'TIMMBackbone', 'model_name': 'resnet10t'},
    'slak-tiny': {'type': 'SLaK', 'depths': (1, 1, 1, 1), 'dims': (8, 8, 16, 32), 'kernel_size': (9, 7, 5, 5, 3)},
    'convnextv2-tiny': {'type': 'ConvNeXtV2', 'depths': (1, 1, 1, 1), 'dims': (8, 8, 16, 32)},
    'mobilenetv3': {'type': 'TIMMBackbone', 'model_name': 'mobilenetv3_small_050'},
}
ALGORITHMS = [name for name in MODELS.names() if issubclass(MODELS.get(name), Algorithm)]


@pytest.fixture(scope='module', params=BACKBONE_CONFIGS)
def backbone(request):
    return BACKBONES.build(BACKBONE_CONFIGS[request.param])


@pytest.fixture(params=ALGORITHMS)
def model(request, backbone):
    torch.manual_seed(0)
    return tiny_model(request.param, copy.deepcopy(backbone), backbone.out_channels).train()


def test_one_training_step(model):
    batch = tiny_batch(model, size=3)
    before = {k: v.clone() for k, v in model.state_dict().items() if k in dict(model.named_parameters())}
    step = model(batch)
    assert isinstance(step, Step)
    assert step.total.shape == () and torch.isfinite(step.total)
    step.total.backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    if type(model).__name__ != 'Detection':  # a few images per process say nothing about collapse
        assert (
            step.embedding.shape[0] == 3 and step.embedding.dtype == torch.float32 and not step.embedding.requires_grad
        )
        torch.testing.assert_close(step.embedding.norm(dim=1), torch.ones(3))
    assert not any(v.requires_grad for v in [*step.logs.values(), *step.carry.values()])
    assert all(v.numel() == 1 for v in step.logs.values())
    for name, value in before.items():  # loss() moves no weights
        assert torch.equal(value, model.state_dict()[name]), name
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1).step()
    model.after_update([step.carry], Progress(5, 10, 5))
    assert all(torch.isfinite(v).all() for v in model.state_dict().values())


def test_state_dict_holds_everything(model):
    twin = copy.deepcopy(model)
    batch = tiny_batch(model)
    step = model(batch)
    model.after_update([step.carry], Progress(3, 10, 5))
    assert twin.load_state_dict(model.state_dict()).missing_keys == []
    for _ in range(2):  # the second time after both moved on
        steps = []
        for network in (model, twin):
            torch.manual_seed(1)
            steps.append(network(batch))
            network.after_update([steps[-1].carry], Progress(4, 10, 5))
        assert torch.equal(steps[0].total, steps[1].total)
    assert all(torch.equal(value, twin.state_dict()[key]) for key, value in model.state_dict().items())


def test_features_and_maps(model):
    img = torch.randn(2, 3, 32, 32)
    model.eval()
    with torch.no_grad():
        maps = model({'img': img}, mode='extract')
        assert isinstance(maps, tuple) and maps[-1].shape[:2] == (2, model.backbone.out_channels)
        torch.testing.assert_close(model.features(img), maps[-1].mean((2, 3)))


def test_bfloat16_autocast(model):
    batch = tiny_batch(model)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        step = model(batch)
        step.total.backward()
    assert step.total.dtype == torch.float32
    assert step.embedding is None or step.embedding.dtype == torch.float32
    assert all(v.dtype == torch.float32 for v in step.carry.values() if v.is_floating_point())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    model.after_update([step.carry], Progress(5, 10, 5))
    assert all(torch.isfinite(v).all() for v in model.state_dict().values())


def test_only_the_trained_part_has_gradients(model):
    frozen = {
        name.split('.')[0] for name, p in model.named_parameters() if not p.requires_grad and 'conv_head' not in name
    }
    assert frozen <= {'key_backbone', 'key_neck', 'target_backbone', 'target_neck'}
    assert sum(p.requires_grad for p in model.backbone.parameters()) > 0


def bank_of(model):
    """Features (N, D) that the model keeps of its images; none for most methods."""
    return next(
        (value for key, value in model.state_dict().items() if key.startswith('memory_bank.feature_bank')),
        torch.zeros(0, 1),
    )


def test_one_update_for_two_micro_batches(model):
    """`update_interval=2`: gradients of both are added, then the state moves once, by both carries."""
    batches = [tiny_batch(model), tiny_batch(model)]
    if 'idx' in batches[0]:
        batches[1]['idx'] = (batches[0]['idx'] + 1) % IMAGES
    carries = []
    for batch in batches:
        step = model(batch)
        (step.total / 2).backward()
        carries.append(step.carry)
    rows = bank_of(model).clone()
    model.after_update(carries, Progress(5, 10, 5))
    assert all(torch.isfinite(v).all() for v in model.state_dict().values())
    if len(rows):
        moved = (bank_of(model) != rows).any(dim=1).nonzero()[:, 0].tolist()
        assert set(moved) == {*batches[0]['idx'].tolist(), *batches[1]['idx'].tolist()}
