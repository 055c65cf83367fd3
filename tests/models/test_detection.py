"""The detector: losses, predictions, which backbones fit, what is refused."""

import pytest
import torch

from selfsup.errors import ConfigError, ShapeError
from selfsup.optim.layer_decay import lr_scales
from selfsup.registry import MODELS

RESNET = {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 8, 'out_indices': (2, 3, 4)}
BACKBONES = {
    'resnet': (RESNET, (16, 32, 64)),
    'convnext': (
        {'type': 'ConvNeXt', 'depths': (1, 1, 1, 1), 'dims': (8, 8, 16, 16), 'out_indices': (2, 3, 4)},
        (8, 16, 16),
    ),
    'convnextv2': (
        {'type': 'ConvNeXtV2', 'depths': (1, 1, 1, 1), 'dims': (8, 8, 16, 16), 'out_indices': (2, 3, 4)},
        (8, 16, 16),
    ),
    'timm': ({'type': 'TIMMBackbone', 'model_name': 'resnet10t', 'out_indices': (2, 3, 4)}, (128, 256, 512)),
}


def build(family='resnet', **changes):
    config, channels = BACKBONES[family]
    settings = {'num_classes': 2, 'masks': True, 'box_channels': 16, 'anchor_sizes': (16, 24, 32, 48), **changes}
    neck = {'type': 'FPN', 'in_channels': channels, 'out_channels': 16, **settings.pop('neck', {})}
    torch.manual_seed(0)
    return MODELS.build(
        {'type': 'Detection', 'backbone': {**config, **settings.pop('backbone', {})}, 'neck': neck, **settings}
    )


def batch(boxes=((10.0, 12.0, 40.0, 44.0),)):
    sizes = [(64, 80), (72, 56)]
    masks = [torch.zeros(len(boxes), *size, dtype=torch.uint8) for size in sizes]
    for mask in masks:
        mask[:, 12:44, 10:40] = 1
    return {
        'img': [torch.randn(3, *size) for size in sizes],
        'gt_boxes': [torch.tensor(boxes).reshape(-1, 4) for _ in sizes],
        'gt_labels': [torch.zeros(len(boxes), dtype=torch.int64) for _ in sizes],
        'gt_masks': masks,
    }


@pytest.mark.parametrize('name', BACKBONES)
def test_backbones(name):
    model = build(name, neck={'input_norm': name.startswith('convnext')})
    step = model(batch())
    assert set(step.losses) == {'loss_objectness', 'loss_rpn_box_reg', 'loss_classifier', 'loss_box_reg', 'loss_mask'}
    step.total.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    model.eval()
    with torch.no_grad():
        found = model({'img': batch()['img']}, mode='test')
    for result, (height, width) in zip(found, [(64, 80), (72, 56)], strict=True):
        assert set(result) == {'boxes', 'labels', 'scores', 'masks'} and set(result['labels'].tolist()) <= {0, 1}
        boxes = result['boxes']
        assert (boxes >= 0).all() and (boxes[:, 0::2] <= width).all() and (boxes[:, 1::2] <= height).all()


def test_padding_changes_no_prediction_of_a_larger_image_beside_it():
    """A batch of one and of two give the same for the first image: padding goes right and below, to a common multiple."""
    model = build().eval()
    image = torch.randn(3, 64, 96)
    with torch.no_grad():
        alone = model.predict([image])[0]
        beside = model.predict([image, torch.randn(3, 64, 80)])[0]
    torch.testing.assert_close(alone['boxes'], beside['boxes'], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(alone['scores'], beside['scores'], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('norm', [None, {'type': 'BN'}, {'type': 'SyncBN'}])
def test_images_without_objects_train_too(norm):
    model = build(head_norm_cfg=norm, neck={'norm_cfg': norm})
    step = model(batch(boxes=()))
    step.total.backward()
    assert torch.isfinite(step.total)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_frozen_batch_norms_and_stages():
    model = build(
        backbone={'frozen_stages': 1, 'norm_eval': True, 'norm_cfg': {'type': 'BN', 'requires_grad': False}}
    ).train()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    model(batch()).total.backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1).step()
    moved = {name for name, value in model.backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and all(
        name.startswith(('layer2', 'layer3', 'layer4')) and ('conv' in name or 'downsample.0' in name) for name in moved
    )


def test_layer_decay_reaches_the_backbone_alone():
    scales = lr_scales(build('convnext'), 0.5, 'spark')
    assert scales['backbone.stages.3.0.dwconv.weight'] == 0.5
    assert {scales[name] for name in scales if not name.startswith('backbone.')} == {1.0}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'num_classes': 0}, 'num_classes=0'),
        ({'anchor_sizes': (16, 32)}, r'give 4 sizes, one for each level of the pyramid \(0, 1, 2, pool\)'),
        ({'rcnn': {'rpn_nms_tresh': 0.5}}, r"is not a key of .*rcnn. Did you mean 'rpn_nms_thresh'"),
        ({'rcnn': {'box_nms_thresh': 'x'}}, r"rcnn\.box_nms_thresh='x': must be a number in \[0, 1\]"),
        ({'rcnn': {'box_positive_fraction': 1.5}}, r'box_positive_fraction=1\.5: must be a number in \[0, 1\]'),
        ({'rcnn': {'box_score_thresh': float('nan')}}, 'box_score_thresh=nan'),
        ({'rcnn': {'rpn_pre_nms_top_n_train': 5.5}}, r'rpn_pre_nms_top_n_train=5\.5: must be a whole number >= 1'),
        ({'rcnn': {'box_detections_per_img': -5}}, 'box_detections_per_img=-5'),
        ({'size_divisible': 0}, 'size_divisible=0: must be a whole number >= 1'),
        ({'box_channels': 0}, 'box_channels=0: must be a whole number >= 1'),
        ({'anchor_sizes': (16, 24, 32, 0)}, r'anchor_sizes\.3=0: must be a whole number >= 1'),
        ({'neck': {'in_channels': (16, 32)}}, r'maps of \(16, 32, 64\) channels, model\.neck\.in_channels=\(16, 32\)'),
        ({'neck': {'out_channels': 0}}, 'out_channels=0'),
        ({'head_norm_cfg': {'type': 'XN'}}, 'XN'),
    ],
)
def test_settings_that_do_not_fit(changes, message):
    with pytest.raises(ConfigError, match=message):
        build(**changes)


def test_masks_must_be_in_the_data():
    model = build()
    given = batch()
    del given['gt_masks']
    with pytest.raises(ConfigError, match='set masks=True in the data set too'):
        model(given)
    with pytest.raises(ConfigError, match='use DetectionDataset'):
        model({'img': torch.randn(2, 3, 64, 64), 'gt_label': torch.zeros(2)})


def test_images_that_do_not_fit_together():
    model = build().eval()
    for images in ([torch.zeros(64)], [torch.zeros(3, 64, 64), torch.zeros(1, 64, 64)], torch.zeros(2, 2, 3, 64, 64)):
        with pytest.raises(ShapeError, match=r'one view \(C, H, W\) per image'):
            model.predict(images)


def test_images_of_one_pixel():
    model = build()
    image = torch.randn(3, 1, 1)
    step = model(
        {
            'img': [image] * 2,
            'gt_boxes': [torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.zeros(0, 4)],
            'gt_labels': [torch.zeros(1, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)],
            'gt_masks': [torch.ones(1, 1, 1, dtype=torch.uint8), torch.ones(0, 1, 1, dtype=torch.uint8)],
        }
    )
    assert torch.isfinite(step.total)
    with torch.no_grad():
        assert (model.eval().predict([image])[0]['boxes'] <= 1).all()
