"""Distill gives the numbers of the formulas of AM-RADIO, in value and gradient, and what it learns from stays outside of it."""

import copy

import pytest
import torch
from torch import nn

from selfsup.errors import ConfigError, TrainingError
from selfsup.models.algorithms.distill import Distill, cosine_loss, feature_loss, smooth_l1_loss
from selfsup.models.teachers import Answer, Teacher

from .golden import golden, gradient, leaves, near

GOLDEN = golden('distill')
NORM = {'mean': [0.5] * 3, 'std': [0.3] * 3}
TINY = {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 8, 'out_indices': (4,)}


class Same(nn.Module):
    """A backbone that gives out its images."""

    def forward(self, x):
        return (x,)


class Fixed(Teacher):
    """A teacher that always gives one answer."""

    def __init__(self, vector, maps, **settings):
        super().__init__(**settings)
        self.given, self.name, self.digest = Answer(vector, maps), 'fixed', '0'
        self.summary_channels, self.map_channels = vector.shape[1], maps.shape[1]

    def __call__(self, img, before, channels_last=False):
        return self.given


def test_the_loss_on_vectors():
    case = GOLDEN['summary']
    (student,) = leaves(case['student'])
    loss = cosine_loss(student, case['teacher'])
    near(loss, case['loss'])
    near(gradient(loss, student), case['grad_student'])


def test_the_loss_on_maps():
    case = GOLDEN['features']
    (student,) = leaves(case['student'])
    places, target = student.permute(0, 2, 3, 1), case['teacher'].permute(0, 2, 3, 1)
    near(cosine_loss(places, target), case['cosine'])
    near(smooth_l1_loss(places, target), case['smooth_l1'])
    loss = feature_loss(places, target, case['alpha'])
    near(loss, case['loss'])
    near(gradient(loss, student), case['grad_student'])
    near(feature_loss(places, target, 1.0), case['cosine'])
    near(feature_loss(places, target, 0.0), case['smooth_l1'])


def golden_model(**settings):
    """Distill with the golden weights on a map instead of an image."""
    case = GOLDEN['whole']
    teacher = Fixed(case['teacher_summary'], case['teacher_map'], **settings)
    model = Distill(Same(), [teacher], NORM, in_channels=6).double()
    model.load_state_dict(
        {
            'summary_projections.0.mlp.0.weight': case['W_summary'],
            'summary_projections.0.mlp.0.bias': case['b_summary'],
            'feature_projections.0.mlp.0.weight': case['W_features'],
            'feature_projections.0.mlp.0.bias': case['b_features'],
        }
    )
    return model, case


def test_the_whole_loss_and_its_gradients():
    model, case = golden_model()
    (student,) = leaves(case['student_map'])
    step = model({'img': student})
    near(step.losses['loss_summary'], case['loss_summary'])
    near(step.losses['loss_features'], case['loss_features'])
    near(step.total, case['loss'])
    near(step.logs['cosine'], 1 - case['loss_summary'])
    near(gradient(step.total, student), case['grad_student_map'])
    for part in ('summary', 'features'):
        layer = getattr(model, f'{part.removesuffix("s")}_projections')[0].mlp[0]
        near(gradient(step.total, layer.weight), case[f'grad_W_{part}'])
        near(gradient(step.total, layer.bias), case[f'grad_b_{part}'])


def test_weights_views_and_several_teachers():
    model, case = golden_model(summary=2.0, features=0.5)
    img = case['student_map']
    expected = 2.0 * case['loss_summary'] + 0.5 * case['loss_features']
    near(model({'img': img}).total, expected)
    views = torch.stack([img, img], dim=1)
    model.teachers[0].given = Answer(*(torch.cat([x, x]) for x in model.teachers[0].given))
    near(model({'img': views}).total, expected)
    model.teachers[0].given = Fixed(case['teacher_summary'], case['teacher_map']).given
    near(model({'img': [img[:, None], img[:, None]]}).total, expected)

    one = Fixed(case['teacher_summary'], case['teacher_map'], features=0.0)
    two = Fixed(case['teacher_summary'], case['teacher_map'], summary=0.0)
    several = Distill(Same(), [one, two], NORM, in_channels=6).double()
    step = several({'img': img})
    assert list(step.losses) == ['loss_summary_0', 'loss_features_1'] and list(step.logs) == ['cosine_0']
    step.total.backward()
    assert all(p.grad is not None for p in several.parameters())  # what is not used is not there
    assert len(list(several.parameters())) == 4


def frozen(**settings):
    return {'type': 'TIMMTeacher', 'model_name': 'test_vit', 'pretrained': False, **settings}


def test_the_teacher_is_outside_and_the_student_does_not_depend_on_it():
    torch.manual_seed(0)
    model = Distill(TINY, [frozen()], NORM)
    torch.manual_seed(0)
    other = Distill(TINY, [frozen(projection='mlp'), frozen(model_name='test_resnet')], NORM)
    assert all(torch.equal(a, b) for a, b in zip(model.backbone.parameters(), other.backbone.parameters(), strict=True))
    (teacher,) = model.teachers
    inside = {name.split('.')[0] for name in [*model.state_dict(), *dict(model.named_parameters())]}
    assert inside == {'backbone', 'summary_projections', 'feature_projections'}
    assert not any(module is teacher.network for module in model.modules())
    assert copy.deepcopy(model).teachers[0] is teacher
    assert model.frozen_networks() == [f'test_vit {teacher.digest}'] and len(teacher.digest) == 64
    assert Distill(TINY, [frozen()], NORM).teachers[0].digest == teacher.digest
    before = {name: value.clone() for name, value in teacher.network.state_dict().items()}
    model.train()
    model({'img': torch.randn(2, 3, 32, 32)}).total.backward()
    assert not teacher.network.training and all(p.grad is None for p in teacher.network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.network.state_dict().items())


def test_numbers_that_are_not_finite_are_told():
    model = Distill(TINY, [frozen(precision='float16')], NORM)
    with torch.no_grad():
        for p in model.teachers[0].network.backbone.model.patch_embed.parameters():
            p.mul_(1e8)
    told = (
        r"^The teacher test_vit gives numbers that are NaN or infinite in float16\. Set precision='bfloat16' for it\.$"
    )
    with pytest.raises(TrainingError, match=told):
        model({'img': torch.randn(2, 3, 32, 32)})


def test_it_learns():
    """The cosine to a fixed network rises on images that were not seen."""
    torch.manual_seed(0)
    model = Distill(TINY, [frozen(model_name='test_resnet', features=0.0)], NORM)
    seen, others = torch.randn(2, 16, 3, 4, 4).repeat_interleave(8, 3).repeat_interleave(8, 4)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    start = model({'img': others}).logs['cosine']
    for _ in range(12):
        optimizer.zero_grad()
        model({'img': seen}).total.backward()
        optimizer.step()
    assert model({'img': others}).logs['cosine'] > max(0.5, start + 0.3)


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(ConfigError, match=r'has summary=0 and features=0: nothing is learned of it'):
        Distill(TINY, [frozen(summary=0, features=0)], NORM)
    with pytest.raises(ConfigError, match=r'give both, or neither\.$'):
        Distill(TINY, [frozen(mean=[0.5] * 3)], NORM)
    with pytest.raises(ConfigError, match=r'^Same does not say its out_channels: set model\.in_channels\.$'):
        Distill(Same(), [frozen()], NORM)
    with pytest.raises(ConfigError, match=r'takes images of multiples of 16: size=40 does not fit\.$'):
        Distill(TINY, [frozen(size=40)], NORM)
    with pytest.raises(ConfigError, match='size=64 does not fit'):
        Distill(TINY, [frozen(model_name='test_vit_relpos', size=64, model_args={'img_size': 32})], NORM)
