"""What each algorithm adds to the contract: queues, momentum, errors."""

import copy
import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from selfsup.errors import ConfigError, ShapeError, UnknownNameError
from selfsup.models.algorithms import Algorithm, Step
from selfsup.registry import MODELS

from .tiny_models import TINY_RESNET, tiny_batch, tiny_model


def build(name, **changes):
    torch.manual_seed(0)
    return tiny_model(name, **{'backbone': TINY_RESNET, 'channels': 64, **changes})


def test_moco_has_two_names():
    assert MODELS.get('MoCo') is MODELS.get('MOCO')


def test_moco_queue_wraps():
    model = build('MOCO', queue_len=10)
    before = model.queue.clone()
    keys = torch.nn.functional.normalize(torch.randn(12, 16), dim=1)
    for part in keys.split(4):
        model.after_update([{'keys': part}], progress=0.0)
    assert int(model.queue_ptr) == 2
    torch.testing.assert_close(model.queue[:, 2:10].T, keys[2:10])
    torch.testing.assert_close(model.queue[:, 0:2].T, keys[10:12])
    assert not torch.equal(model.queue, before)


def test_moco_accumulation_enqueues_every_micro_batch_and_moves_once():
    model = build('MOCO', momentum=0.5)
    steps = [model(tiny_batch(model, 2)) for _ in range(2)]
    torch.testing.assert_close(model.queue.norm(dim=0), torch.ones(10))
    sum(s.total for s in steps).backward()
    with torch.no_grad():
        for p in model.backbone.parameters():
            p.add_(1.0)
    old = copy.deepcopy(model.key_backbone)
    model.after_update([s.carry for s in steps], progress=0.0)
    assert int(model.queue_ptr) == 4
    torch.testing.assert_close(model.queue[:, :4].T, torch.cat([s.carry['keys'] for s in steps]))
    for key, was, query in zip(
        model.key_backbone.parameters(), old.parameters(), model.backbone.parameters(), strict=True
    ):
        torch.testing.assert_close(key.detach(), (was + query.detach()) / 2)


def test_moco_reads_the_queue_before_the_enqueue():
    model = build('MOCO')
    batch, queue = tiny_batch(model), build('MOCO').queue
    step = model(batch)
    assert torch.equal(model.queue, queue)
    with torch.no_grad():
        q, k = step.embedding, step.carry['keys']
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue], dim=1) / 0.2
    torch.testing.assert_close(step.total.detach(), -logits.log_softmax(1)[:, 0].mean())


def test_moco_queue_shorter_than_the_batch():
    model = build('MOCO', queue_len=4)
    with pytest.raises(ShapeError, match='queue_len=4 keys, fewer than one global batch of 5: set queue_len to 5'):
        model(tiny_batch(model, 5))


def test_moco_feat_dim_and_neck_must_agree():
    model = build('MOCO', feat_dim=12)
    with pytest.raises(ShapeError, match='feat_dim=12, but its neck gives 16'):
        model(tiny_batch(model))


@pytest.mark.parametrize(('name', 'copies'), [('MOCO', 'key'), ('BYOL', 'target')])
def test_momentum_copies_follow_loaded_weights_and_stay_in_train_mode(name, copies):
    model = build(name).eval().train()
    copied = getattr(model, f'{copies}_backbone')
    assert copied.training and getattr(model, f'{copies}_neck').training
    donor = build('SimCLR')
    nn.init.constant_(donor.backbone.bn1.running_mean, 3.0)
    nn.init.constant_(donor.backbone.conv1.weight, 2.0)
    model.backbone.load_state_dict(donor.backbone.state_dict())
    model.after_load_backbone()
    for key, value in donor.backbone.state_dict().items():
        assert torch.equal(copied.state_dict()[key], value)
    assert not any(p.requires_grad for p in copied.parameters())


def test_byol_momentum_rises_as_documented():
    cases = json.loads((Path(__file__).parents[1] / 'golden' / 'schedules.json').read_text())['byol_momentum']
    case = next(c for c in cases if c['update_interval'] == 1)
    model = build('BYOL', base_momentum=case['base_momentum'], end_momentum=case['end_momentum'])
    for i, expected in enumerate(case['momentum']):
        assert math.isclose(model.momentum_at(i / case['total_iters']), expected, rel_tol=1e-9)


def test_byol_target_follows_with_the_momentum_it_logs():
    model = build('BYOL', base_momentum=0.5)
    batch = tiny_batch(model)
    assert model(batch).logs['momentum'] == 0.5
    with torch.no_grad():
        for p in [*model.backbone.parameters(), *model.neck.parameters()]:
            p.add_(1.0)
    old = [p.clone() for p in model.target_neck.parameters()]
    model.after_update([{}, {}], progress=0.5)
    assert model(batch).logs['momentum'] == 0.75
    for target, was in zip(model.target_neck.parameters(), old, strict=True):
        torch.testing.assert_close(target.detach(), was + 0.25, rtol=1e-6, atol=1e-6)


def test_simclr_does_not_depend_on_the_order_of_images():
    model = build('SimCLR')
    img = tiny_batch(model, 4)['img']
    torch.testing.assert_close(model({'img': img}).total, model({'img': img[[2, 0, 3, 1]]}).total, rtol=1e-5, atol=1e-6)


def test_simclr_compares_each_view_with_all_others_once():
    model = build('SimCLR')
    z = torch.nn.functional.normalize(torch.randn(6, 16), dim=1)
    pos, neg = model.compare(z)
    sim = z @ z.T
    for row in range(6):
        other = row + 1 if row % 2 == 0 else row - 1
        torch.testing.assert_close(pos[row, 0], sim[row, other])
        torch.testing.assert_close(neg[row], sim[row][[c for c in range(6) if c not in (row, other)]])


def test_classification_predicts_and_reports_accuracy():
    model = build('Classification').eval()
    batch = tiny_batch(model)
    logits = model(batch, mode='test')['head0']
    step = model(batch)
    torch.testing.assert_close(step.total, nn.functional.cross_entropy(logits, batch['gt_label']))
    expected = (logits.argmax(1) == batch['gt_label']).float().mean() * 100
    assert step.logs['acc'] == expected


def test_classification_on_edges():
    model = build('Classification', with_sobel=True, backbone={**TINY_RESNET, 'in_channels': 2})
    model(tiny_batch(model)).total.backward()
    assert model.features(torch.randn(2, 3, 32, 32)).shape == (2, 64)
    assert not any('sobel' in key for key in model.state_dict())


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def test_rotation_prediction_is_a_classification_of_all_rotations():
    model = build('RotationPred')
    batch = tiny_batch(model)
    batch['rot_label'] = torch.randint(4, (3, 4))
    step = model(batch)
    logits = model.head(model.backbone(batch['img'].flatten(0, 1)))['head0']
    torch.testing.assert_close(step.total, nn.functional.cross_entropy(logits, batch['rot_label'].flatten()))
    assert step.logs['acc'] == (logits.argmax(1) == batch['rot_label'].flatten()).float().mean() * 100
    upright = nn.functional.normalize(model.backbone(batch['img'].flatten(0, 1))[-1].mean((2, 3))[0::4], dim=1)
    torch.testing.assert_close(step.embedding, upright.detach())
    assert model.predict(batch['img'][:, 0])['head0'].shape == (3, 4)
    with pytest.raises(ShapeError, match=r'RotationPred needs img of shape \(B, 4, C, H, W\).*use RotationPredDataset'):
        model({'img': batch['img'][:, :2], 'rot_label': batch['rot_label']})


def test_relative_location_joins_the_outer_patch_first():
    model = without_dropout(build('RelativeLoc'))
    batch = tiny_batch(model)
    step = model(batch)
    pairs = batch['img'].flatten(0, 1)
    joined = torch.cat([model.backbone(pairs[:, :3])[-1], model.backbone(pairs[:, 3:])[-1]], dim=1)
    logits = model.head(model.neck(joined))['head0']
    torch.testing.assert_close(step.total, nn.functional.cross_entropy(logits, torch.arange(8).repeat(3)))
    swapped = model({**batch, 'img': torch.cat([batch['img'][:, :, 3:], batch['img'][:, :, :3]], dim=2)})
    assert not torch.allclose(swapped.total, step.total, atol=1e-6)
    assert model.neck.fc.weight.std().item() == pytest.approx(0.005, rel=0.05)
    assert model.head.fc_cls.weight.std().item() == pytest.approx(0.005, rel=0.2)
    with pytest.raises(ShapeError, match=r'RelativeLoc needs img of shape \(B, 8, 2C, h, w\).*got \(3, 3, 32, 32\)'):
        model({**batch, 'img': torch.randn(3, 3, 32, 32)})


def test_a_shared_centre_is_computed_once_with_the_same_numbers():
    losses, grads = [], []
    for shared in (False, True):
        model = without_dropout(build('RelativeLoc', shared_centre=shared)).double()
        torch.manual_seed(1)
        img = torch.randn(3, 8, 6, 32, 32, dtype=torch.float64)
        img[:, :, 3:] = img[:, :1, 3:]  # as RelativeLocDataset makes them
        step = model({'img': img, 'patch_label': torch.arange(8).repeat(3, 1)})
        step.total.backward()
        losses.append(step.total.detach())
        grads.append({name: p.grad for name, p in model.named_parameters()})
    torch.testing.assert_close(*losses)
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize('name', ['DeepCluster', 'ODC'])
def test_clustering_methods_on_edges(name):
    model = build(name, with_sobel=True, backbone={**TINY_RESNET, 'in_channels': 2})
    model(tiny_batch(model)).total.backward()
    assert (
        model.features(torch.randn(2, 3, 32, 32)).shape == (2, 64) and model.embed(torch.randn(2, 3, 32, 32)).dim() == 2
    )
    assert not any('sobel' in key for key in model.state_dict())


@pytest.mark.parametrize('name', ['NPID', 'DeepCluster', 'ODC', 'RelativeLoc', 'RotationPred'])
def test_a_stopped_run_goes_on_as_if_it_had_not(name, tmp_path):
    """Weights, optimizer and whatever the method keeps, through a file; after two of four steps."""

    def run(model, optimizer, steps):
        for i in steps:
            torch.manual_seed(100 + i)  # as the loop does
            step = model(tiny_batch(model))
            optimizer.zero_grad()
            step.total.backward()
            optimizer.step()
            model.after_update([step.carry], progress=i / 4)

    def start(seed):
        model = build(name)
        torch.manual_seed(seed)
        for p in model.parameters():
            nn.init.normal_(p, std=0.1)
        if seed == 0 and hasattr(model, 'set_reweight'):
            model.set_reweight(torch.tensor([0, 0, 0, 1, 2, 3]))
        return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    straight, optimizer = start(seed=0)
    run(straight, optimizer, range(4))
    first, optimizer = start(seed=0)
    run(first, optimizer, range(2))
    torch.save({'model': first.state_dict(), 'optimizer': optimizer.state_dict()}, tmp_path / 'stopped.pth')
    saved = torch.load(tmp_path / 'stopped.pth', weights_only=True)
    second, optimizer = start(seed=5)
    second.load_state_dict(saved['model'])
    optimizer.load_state_dict(saved['optimizer'])
    run(second, optimizer, range(2, 4))
    expected = straight.state_dict()
    assert expected.keys() == second.state_dict().keys()
    for key, value in second.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_wrong_batches_name_the_dataset_to_use():
    moco, classification = build('MOCO'), build('Classification')
    img = torch.randn(2, 3, 32, 32)
    with pytest.raises(ConfigError, match='MOCO reads img; the dataset gives img, gt_label: use ContrastiveDataset'):
        moco({'img': img, 'gt_label': torch.zeros(2)})
    with pytest.raises(
        ConfigError, match='Classification reads img, gt_label; the dataset gives img: use ClassificationDataset'
    ):
        classification({'img': img})
    with pytest.raises(
        ShapeError, match=r'MOCO needs img of shape \(B, 2, C, H, W\).*got \(2, 3, 32, 32\): use ContrastiveDataset'
    ):
        moco({'img': img})
    with pytest.raises(ShapeError, match=r'got \(2, 2, 3, 32, 32\): use ClassificationDataset'):
        classification({'img': torch.randn(2, 2, 3, 32, 32), 'gt_label': torch.zeros(2, dtype=torch.long)})
    with pytest.raises(ConfigError, match='MOCO has no classes'):
        moco({'img': img}, mode='test')
    with pytest.raises(ConfigError, match=r"no mode='los'\. Did you mean 'loss'"):
        moco({'img': img}, mode='los')


def test_misspelt_parts_are_answered_with_names_of_that_kind():
    with pytest.raises(UnknownNameError, match=r"not a backbone\. Did you mean 'ResNet'"):
        build('MOCO', backbone={'type': 'ResNte', 'depth': 18})
    with pytest.raises(UnknownNameError, match='not a neck'):
        build('MOCO', neck={'type': 'LinearNek'})
    with pytest.raises(ConfigError, match="Did you mean 'queue_len'"):
        build('MOCO', queue_length=3)


def test_neck_of_another_width_says_what_to_set():
    model = build('SimCLR', backbone={**TINY_RESNET, 'base_channels': 16})
    with pytest.raises(
        ShapeError, match=r'NonLinearNeckSimCLR has in_channels=64.*gives 128 per image.*set in_channels=128'
    ):
        model(tiny_batch(model))


class _Extra(Algorithm):
    dataset = 'NPIDDataset'

    def loss(self, img, idx=None):
        return Step({'loss': img.sum(), 'loss_extra': img.mean()})


def test_optional_keys_may_be_missing():
    model = _Extra()
    assert model({'img': torch.ones(2)}).total == 3
    assert model({'img': torch.ones(2), 'idx': torch.ones(2)}).total == 3
    with pytest.raises(ConfigError, match='NPIDDataset'):
        model({'idx': torch.ones(2)})
