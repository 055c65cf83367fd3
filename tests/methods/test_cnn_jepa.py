"""CNN-JEPA: numbers of the authors' code in value and gradient, on visible blocks and on masked maps; masks, momentum, what is refused."""

import json

import pytest
import torch
from torch import nn

from selfsup.contracts import Progress
from selfsup.engine.processes.compiling import compile_backbone
from selfsup.errors import CheckpointError, ConfigError, ShapeError
from selfsup.models.algorithms.masked.cnn_jepa import latent_loss, spread_of_directions
from selfsup.models.layers.masking import BlockMasking, TargetMasking, rectangle
from selfsup.models.necks import CNNJEPAPredictor, CNNJEPAProjection
from selfsup.registry import MODELS
from selfsup.weights.extract import extract_backbone

from .golden import FOLDER, golden, gradient, leaves, near

GOLDEN = golden('cnnjepa')
PARTS = {
    'backbone_sparse': 'backbone',
    'backbone_momentum': 'target_backbone',
    'predictor': 'predictor.layers',
    'mask_token': 'predictor.mask_token',
    'projection_head': 'neck',
    'projection_head_momentum': 'target_neck',
}
RESNET = {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 4, 'out_indices': (4,)}


def network():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(6, 10, 3, stride=2, padding=1),
        nn.BatchNorm2d(10),
        nn.ReLU(),
    )


def our_name(name):
    part, _, rest = name.partition('.')
    return f'{PARTS[part]}.{rest}' if rest else PARTS[part]


def model_of(case, path):
    config = case['config']
    predictor = {
        'type': 'CNNJEPAPredictor',
        'num_layers': config['n_layers'],
        'kernel_size': config['kernel_size'],
        'separable': config['dw_sep_conv'],
    }
    neck = {'type': 'CNNJEPAProjection', 'out_channels': 10} if config['use_projection_head'] else None
    model = MODELS.build(
        {
            'type': 'CNNJEPA',
            'backbone': network(),
            'predictor': predictor,
            'neck': neck,
            'block': config['downsample'],
            'path': path,
        }
    ).double()
    # the third copy of the authors' file is the backbone under another name, for their evaluation
    state = {our_name(k): v for k, v in case['state'].items() if not k.startswith('backbone_for_online_eval')}
    missing = model.load_state_dict(state, strict=False)
    assert missing.missing_keys == ['momentum'] and not missing.unexpected_keys
    return model.train()


@pytest.mark.parametrize('path', ['visible', 'masked'])
@pytest.mark.parametrize('case', GOLDEN['cases'], ids=['separable', 'full-projection'])
def test_a_step_of_the_authors_code(case, path):
    model = model_of(case, path)
    visible, target = case['context_mask'][:, 0], case['target_mask'][:, 0]
    with torch.no_grad():
        near(model.target_map(case['img']), case['target'])
    model = model_of(case, path)
    step = model({'img': case['img'], 'visible': visible, 'target': target})
    near(step.total, case['loss'])
    step.total.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == {our_name(name) for name in case['grads']}
    for name, expected in case['grads'].items():
        near(found[our_name(name)], expected)
    state = model.state_dict()
    for name, expected in case['bn_after'].items():
        if name.startswith('backbone_for_online_eval'):
            continue
        near(state[our_name(name)], expected)
    model = model_of(case, path)
    near(model.predict_map(case['img'], visible)[0], case['pred'])


def test_the_loss_alone():
    case = GOLDEN['loss_only']
    p, h = leaves(case['p'], case['h'])
    loss = latent_loss(p, h.detach(), case['target_mask'][:, 0])
    near(loss, case['loss'])
    near(gradient(loss, p), case['grad_p'])


@pytest.mark.parametrize('case', GOLDEN['block_sizes'])
def test_the_size_of_rectangles(case):
    found = rectangle(case['u'], case['grid'], case['grid'], case['scale'], case['aspect'])
    assert found == (case['h'], case['w'])


def masking(**changes):
    return TargetMasking(BlockMasking(0.6, 'round', 32), **changes)


def test_rectangles():
    img = torch.zeros(64, 3, 224, 224)
    shares = []
    for seed in range(40):
        torch.manual_seed(seed)
        visible, target = masking(multi_block=1.0).draw(img)
        assert torch.equal(visible, ~target) and visible.shape == (64, 7, 7)
        assert visible.flatten(1).sum(1).min() > 5 and visible.flatten(1).sum(1).unique().numel() > 3
        assert not target[:, -1].any() and not target[:, :, -1].any()  # as in the public code
        shares.append(visible.float().mean())
    assert 0.54 < torch.stack(shares).mean() < 0.6
    (one,) = masking(multi_block=1.0, targets=1).draw(img)[1][None, 0]
    rows, columns = one.any(dim=1).nonzero()[:, 0], one.any(dim=0).nonzero()[:, 0]
    assert one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all() and one.sum() == len(rows) * len(columns)


def test_an_image_keeps_more_than_the_least_number_of_blocks():
    img = torch.zeros(200, 3, 224, 224)
    torch.manual_seed(0)
    visible, target = masking(multi_block=1.0, min_visible=28).draw(img)
    counts = visible.flatten(1).sum(1)
    assert counts.min() > 28 and counts.unique().numel() > 3 and target.flatten(1).any(dim=1).all()
    assert torch.equal(visible, ~target)
    with pytest.raises(
        ShapeError, match=r'A target of up to 12 of the 7 x 7 blocks does not leave more than min_visible=37'
    ):
        masking(min_visible=37).draw(img)
    with pytest.raises(ShapeError, match='or multi_block=0'):
        masking().draw(img[..., :64, :64])


def test_random_masks_and_the_mixture():
    img = torch.zeros(8, 3, 224, 160)
    counts = []
    for seed in range(400):
        torch.manual_seed(seed)
        visible, target = masking().draw(img)
        assert torch.equal(visible, ~target)
        counts.append(visible.flatten(1).sum(1))
    random = [bool((c == 14).all()) for c in counts]  # of 35
    assert 0.17 < sum(random) / len(random) < 0.33
    torch.manual_seed(3)
    first = masking().draw(img)
    torch.manual_seed(3)
    assert all(torch.equal(a, b) for a, b in zip(first, masking().draw(img), strict=True))


def tiny(**changes):
    torch.manual_seed(0)
    return MODELS.build(
        {'type': 'CNNJEPA', 'backbone': dict(RESNET), 'predictor': {'type': 'CNNJEPAPredictor'}, **changes}
    )


def test_momentum_rises_by_epochs_and_is_that_of_the_next_step():
    model = tiny()
    expected = json.loads((FOLDER / 'methods_ssl_schedules.json').read_text())['cnnjepa']['momentum_per_epoch']
    kept = [model.momentum_at(Progress(i, 36, 3)) for i in range(36)]
    assert kept == pytest.approx([m for m in expected for _ in range(3)], rel=1e-9) and kept[-1] == 1.0
    assert tiny(end_momentum=0.9).momentum_at(Progress(1, 5, 5)) == pytest.approx(0.996)  # one epoch
    with torch.no_grad():
        model.backbone.conv1.weight.add_(1.0)
    before = model.target_backbone.conv1.weight.clone()
    model.after_update([{}], Progress(5, 36, 3))  # the next iteration is in epoch 2
    torch.testing.assert_close(model.target_backbone.conv1.weight, before + 1 - expected[2], rtol=0, atol=1e-6)
    assert model.momentum.item() == pytest.approx(expected[2])


def test_hidden_pixels_are_not_looked_at():
    model = tiny().eval()
    img, other = torch.randn(2, 1, 3, 96, 96)
    visible = torch.tensor([[[1, 1, 0], [0, 0, 0], [1, 0, 0]]], dtype=torch.bool)
    changed = torch.where(visible.repeat_interleave(32, 1).repeat_interleave(32, 2)[:, None], img, other)
    torch.testing.assert_close(model.predict_map(img, visible)[0], model.predict_map(changed, visible)[0])


def test_only_targets_count():
    prediction, goal = torch.rand(2, 2, 5, 3, 3)  # of no negative numbers, as after a ReLU: no difference is above 1
    target = torch.rand(2, 3, 3) < 0.5
    expected = (1 - torch.cosine_similarity(prediction, goal, dim=1))[target].mean()
    torch.testing.assert_close(latent_loss(prediction, goal, target), expected)
    assert latent_loss(prediction, goal, torch.zeros_like(target)) == 0


def test_the_spread_shows_collapse():
    assert spread_of_directions(torch.ones(4, 8, 3, 3)) < 1e-3
    assert spread_of_directions(torch.randn(64, 512, 4, 4)) > 0.99


@pytest.mark.parametrize(
    ('backbone', 'norm'),
    [
        ({**RESNET, 'stem': 'imagenet'}, 'bn'),
        ({'type': 'TIMMBackbone', 'model_name': 'convnext_atto', 'depths': (1, 1, 1, 1), 'dims': (8, 8, 8, 16)}, 'ln'),
    ],
    ids=['resnet', 'convnext'],
)
def test_visible_blocks_give_the_numbers_of_masked_maps(backbone, norm):
    """Rectangles leave another number of blocks visible in each image; batch norm is over visible positions."""
    found = {}
    for path in ('visible', 'masked'):
        model = tiny(
            backbone=dict(backbone), predictor={'type': 'CNNJEPAPredictor', 'norm': norm}, multi_block=1.0, path=path
        ).double()
        torch.manual_seed(1)
        img = torch.randn(4, 3, 192, 224, dtype=torch.float64)
        step = model({'img': img})
        step.total.backward()
        found[path] = (
            step.total,
            {k: p.grad for k, p in model.named_parameters() if p.requires_grad},
            model.state_dict(),
        )
    for visible, masked in zip(*found.values(), strict=True):
        torch.testing.assert_close(visible, masked, rtol=1e-9, atol=1e-11)


def test_several_positions_per_block():
    model = tiny(block=64, multi_block=0.0)
    step = model({'img': torch.randn(2, 3, 128, 192)})
    assert torch.isfinite(step.total) and 0.33 <= step.logs['visible'] <= 0.34  # 2 of 6 blocks, 8 of 24 positions
    step.total.backward()


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        ({'block': 48}, ConfigError, 'block=48 must be a multiple of the stride of the last map, 32'),
        ({'target_scale': (0.3, 0.2)}, ConfigError, r'target_scale=\(0.3, 0.2\): write the smallest and the largest'),
        ({'predictor': {'type': 'CNNJEPAPredictor', 'kernel_size': 4}}, ConfigError, 'needs an odd kernel_size.*got 4'),
        (
            {'predictor': {'type': 'CNNJEPAPredictor', 'in_channels': 7}},
            ConfigError,
            r'predictor\.in_channels=7, but the map that it gets has \d+ channels: leave in_channels out',
        ),
        (
            {'predictor': {'type': 'MLPNeck', 'hid_channels': 4, 'out_channels': 4}},
            ConfigError,
            'MLPNeck does not: set model.predictor.type=CNNJEPAPredictor',
        ),
        (
            {'backbone': {'type': 'TIMMBackbone', 'model_name': 'vit_tiny_patch16_224'}},
            ConfigError,
            'masked training needs a convolutional network',
        ),
    ],
)
def test_what_is_refused(changes, error, message):
    with pytest.raises(error, match=message) as caught:
        tiny(**changes)
    assert '\n' not in str(caught.value)


def test_batches_that_do_not_fit():
    model = tiny()
    for batch, message in (
        ({'img': torch.zeros(2, 2, 3, 64, 64)}, 'CNNJEPA needs img of shape'),
        ({'img': torch.zeros(2, 1, 64, 64)}, 'backbone for images of 3 channels'),
        ({'img': torch.zeros(2, 3, 60, 64)}, 'multiples of block=32'),
        (
            {
                'img': torch.zeros(2, 3, 64, 64),
                'visible': torch.ones(2, 2, 2, dtype=torch.bool),
                'target': torch.ones(2, 1, 2, dtype=torch.bool),
            },
            'grids of the same blocks',
        ),
    ):
        with pytest.raises(ShapeError, match=message):
            model(batch)


def test_parts_alone_need_their_channels():
    for build in (CNNJEPAPredictor, lambda: CNNJEPAProjection(4)):
        with pytest.raises(ConfigError, match='needs in_channels'):
            build()


def test_it_is_not_compiled():
    with pytest.raises(ConfigError, match='compile cannot be used with CNNJEPA'):
        compile_backbone(tiny(), {})


@pytest.mark.parametrize('names', ['ours', "the authors'"])
def test_either_backbone_is_taken_out_of_a_checkpoint(tmp_path, names):
    model = tiny()
    nn.init.constant_(model.target_backbone.conv1.weight, 2.0)
    state = model.state_dict()
    if names != 'ours':
        state = {
            k.replace('target_backbone', 'backbone_momentum').replace('predictor.layers', 'predictor'): v
            for k, v in state.items()
        }
    torch.save({'state_dict': state, 'meta': {}}, tmp_path / 'last.pth')
    extract_backbone(tmp_path / 'last.pth', tmp_path / 'online.pth')
    extract_backbone(tmp_path / 'last.pth', tmp_path / 'momentum.pth', momentum=True)
    for file, network in (('online', model.backbone), ('momentum', model.target_backbone)):
        weights = torch.load(tmp_path / f'{file}.pth', weights_only=True)['state_dict']
        assert weights.keys() == network.state_dict().keys()
        assert all(torch.equal(value, network.state_dict()[key]) for key, value in weights.items())
    with pytest.raises(CheckpointError, match=r'online\.pth holds no momentum network.*Leave out --momentum'):
        extract_backbone(tmp_path / 'online.pth', tmp_path / 'x.pth', momentum=True)
