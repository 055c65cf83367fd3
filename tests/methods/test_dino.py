"""DINO gives the numbers of the official code: loss, centre, temperatures, heads, rows of several sizes, on one process and two."""

import pytest
import torch
from torch import nn

from selfsup import distributed
from selfsup.contracts import Progress
from selfsup.errors import ConfigError, ShapeError
from selfsup.models.algorithms.siamese.dino import DINO
from selfsup.models.algorithms.views import pooled_views
from selfsup.models.necks import DINONeck
from tests.distributed.helpers import run_ranks

from .crops import Same, groups_of
from .golden import golden, gradient, leaves, near

GOLDEN = golden('dino')


class Logits(nn.Module):
    """A neck that gives what it gets, scaled: 1 for the student; the goldens have other numbers for the teacher."""

    def __init__(self, channels):
        super().__init__()
        self.out_channels = channels
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        return x * self.weight


class Teacher(nn.Module):
    """A backbone that answers with maps that are laid in."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, x):
        assert len(x) == len(self.logits)
        return (self.logits,)


def model_of(teacher, centre, **settings):
    model = DINO(Same(), Logits(teacher.shape[-1]), **settings).double().train()
    model.target_backbone = Teacher(teacher)
    model.centre.copy_(centre.flatten())
    return model


def step_of(model, student, number):
    """(V * B, K) student logits, in order of views -> the step and its gradient for them."""
    (student,) = leaves(student)
    step = model(dict(img=groups_of(student.unflatten(0, (number, -1)))))
    return step, gradient(step.total, student)


def test_loss_centre_and_temperature():
    case = GOLDEN['loss']
    config = case['config']
    settings = {
        'teacher_temp': config['teacher_temp'],
        'warmup_teacher_temp': config['warmup_teacher_temp'],
        'warmup_teacher_temp_epochs': config['warmup_teacher_temp_epochs'],
        'student_temp': config['student_temp'],
        'centre_momentum': config['center_momentum'],
    }
    for part in case['steps']:
        model = model_of(part['teacher'], part['center_before'], **settings)
        near(torch.tensor([model.teacher_temp_at(epoch) for epoch in range(8)]), case['teacher_temp_schedule'], 1e-7)
        model.teacher_temp.fill_(model.teacher_temp_at(part['epoch']))
        step, grad = step_of(model, part['student'], config['ncrops'])
        near(step.total, part['loss'])
        near(grad, part['grad_student'])
        near(step.logs['entropy'] + step.logs['kl'], part['loss'])
        near(model.centre, part['center_before'].flatten())  # the loss changes nothing
        model.after_update([step.carry], Progress(3, 16, 2))
        near(model.centre, part['center_after'].flatten())
        assert float(model.teacher_temp) == model.teacher_temp_at(2)  # that of the pass that follows
        half = {'teacher': step.carry['teacher'] * 0}
        model.centre.copy_(part['center_before'].flatten())
        model.after_update([step.carry, half], Progress(3, 16, 2))  # accumulation: the mean over micro-batches
        near(2 * model.centre, 0.9 * part['center_before'].flatten() + part['center_after'].flatten())


def test_temperature_without_a_warm_up():
    model = DINO(Same(), Logits(3), teacher_temp=0.06)
    assert [model.teacher_temp_at(epoch) for epoch in (0, 5)] == [0.06, 0.06]
    model.after_update([{'teacher': torch.zeros(3)}], 0.5)  # reads no epoch
    assert float(model.teacher_temp) == pytest.approx(0.06)
    model = DINO(Same(), Logits(3), teacher_temp=0.06, warmup_teacher_temp=0.02, warmup_teacher_temp_epochs=1)
    assert [model.teacher_temp_at(epoch) for epoch in (0, 1)] == [0.02, 0.06]


def test_a_constant_temperature_is_that_of_the_config_also_behind_a_checkpoint():
    old, new = (DINO(Same(), DINONeck(4, 6, 3, 8), teacher_temp=temp) for temp in (0.04, 0.07))
    new.load_state_dict(old.state_dict())
    new.after_update([{'teacher': torch.zeros(8)}], Progress(0, 10, 5))
    assert new.teacher_temp.item() == pytest.approx(0.07)


@pytest.mark.parametrize('case', GOLDEN['heads'], ids=['plain', 'BN'])
@pytest.mark.parametrize('spelling', ['old', 'new'])
def test_heads(case, spelling):
    norm = 'BN' if case['use_bn'] else None
    neck = DINONeck(7, 9, 6, 10, norm=norm, norm_last_layer=case['norm_last_layer']).double().train()
    state = dict(case['state'])
    if spelling == 'new':
        for number, name in enumerate(('weight_g', 'weight_v')):
            state[f'last_layer.parametrizations.weight.original{number}'] = state.pop(f'last_layer.{name}')
    neck.load_state_dict(state)
    assert neck.state_dict().keys() == case['state'].keys()  # those of the official files
    (x,) = leaves(case['x'])
    out = neck(x)
    near(out, case['out'])
    total = (out * case['weight']).sum()
    near(gradient(total, x), case['grad_x'])
    total.backward()
    grads = {name: p.grad for name, p in neck.named_parameters()}
    assert grads.keys() == case['grads'].keys()
    for name, value in case['grads'].items():
        near(grads[name], value)


def test_the_head_starts_as_the_official_one():
    torch.manual_seed(0)
    neck = DINONeck(64, 256, 32, 50)
    assert torch.equal(neck.last_layer.weight_g, torch.ones(50, 1)) and not neck.mlp[0].bias.any()
    assert float(neck.mlp[0].weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert neck(torch.randn(2, 64)).dtype == torch.float32


def test_rows_of_crops_of_two_sizes():
    case = GOLDEN['multicrop']
    backbone = nn.Sequential(nn.Conv2d(3, 7, 3, padding=1), nn.BatchNorm2d(7), nn.ReLU()).double()
    head = nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5)).double()
    both = nn.ModuleDict({'backbone': backbone, 'head': head})
    both.load_state_dict(case['state'])
    images = list(case['images'].values())
    groups = [torch.stack(images[:2], dim=1), torch.stack(images[2:], dim=1)]
    near(head(pooled_views(backbone, groups).flatten(0, 1)), case['out'])
    for name, value in case['bn_after'].items():
        near(both.state_dict()[name], value)


def test_the_teacher_follows_and_sees_the_first_size_only():
    torch.manual_seed(0)
    model = DINO(Same(), DINONeck(4, 6, 3, 8), base_momentum=0.5).train()
    before = model.target_neck.mlp[0].weight.clone()
    step = model(dict(img=[torch.randn(3, 2, 4, 2, 2), torch.randn(3, 4, 4, 1, 1)]))
    assert step.carry['teacher'].shape == (8,)
    with torch.no_grad():
        model.neck.mlp[0].weight.add_(1.0)
    model.after_update([step.carry], Progress(0, 10, 5))
    torch.testing.assert_close(model.target_neck.mlp[0].weight, before + 0.5)
    assert not any(p.requires_grad for p in model.target_neck.parameters())
    model.after_update([step.carry], Progress(5, 10, 5))
    assert float(model.momentum) == pytest.approx(0.75)  # half way along the cosine from 0.5 to 1


def test_what_does_not_fit():
    model = DINO(Same(), DINONeck(4, 6, 3, 8))
    with pytest.raises(ShapeError, match=r'DINO needs 2 views or more; got \(3, 1, 4, 1, 1\): set number'):
        model(dict(img=torch.randn(3, 1, 4, 1, 1)))
    with pytest.raises(ConfigError, match=r'DINO asks its neck for out_channels, and Identity has none: use DINONeck'):
        DINO(Same(), nn.Identity())


# ---- two processes ----


def on_two_ranks():
    case, rank = GOLDEN['ranks2'], distributed.rank()
    model = model_of(case['teacher'][rank], case['center_before'])
    model.teacher_temp.fill_(case['teacher_temp'])
    step, grad = step_of(model, case['student'][rank], 8)
    model.after_update([step.carry], Progress(0, 10, 5))
    return step.total.detach(), grad, model.centre


@pytest.mark.dist
def test_two_processes():
    case = GOLDEN['ranks2']
    for rank, (loss, grad, centre) in enumerate(run_ranks(on_two_ranks, 2)):
        near(loss, case['loss'][rank])
        near(grad, case['grad_student'][rank])
        near(centre, case['center_after'][rank].flatten())
