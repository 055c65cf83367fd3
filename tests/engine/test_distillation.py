"""Distillation in runs: answers kept on disk, a teacher that must stay the same, the student that leaves."""

import copy
import json

import pytest
import torch

from selfsup.contracts import Views
from selfsup.errors import CheckpointError, ConfigError, DataError
from selfsup.models.algorithms.distill import Distill
from selfsup.models.teachers import Answer, StoredAnswers
from selfsup.weights.extract import extract_backbone
from tests.distributed.helpers import run_ranks
from tests.resume.runs import train, write_images

CONFIG = '''"""A student of digits."""
model = dict(
    type='Distill',
    backbone=dict(type='ResNet', depth=18, stage_blocks=(1, 1, 1, 1), base_channels=4, stem='cifar', out_indices=(4,)),
    teachers=[dict(type='TIMMTeacher', model_name='test_resnet', file={file!r})],
    img_norm_cfg=dict(mean=[0.5, 0.5, 0.5], std=[0.3, 0.3, 0.3]))
source = dict(type='ImageList', root={root!r}, list_file={root!r} + '/list.txt')
pipeline = [dict(type='Resize', size=(32, 32)), dict(type='ToTensor'), dict(type='Normalize', **model['img_norm_cfg'])]
data = dict(imgs_per_gpu=4, workers_per_gpu=0, drop_last=True, train=dict(type='NPIDDataset', data_source=source, pipeline=pipeline))
optimizer = dict(type='SGD', lr=0.05)
checkpoint_config = dict(interval=1)
log_config = dict(interval=1)
total_epochs = 2
'''


@pytest.fixture
def config(tmp_path):
    return write_config(tmp_path)


def write_config(folder):
    """A config file, and the weights of its teacher, beside it."""
    import timm

    torch.manual_seed(3)
    torch.save(timm.create_model('test_resnet').state_dict(), folder / 'teacher.pth')
    images = write_images(folder / 'images', 12)
    path = folder / 'student.py'
    path.write_text(CONFIG.format(root=str(images), file=str(folder / 'teacher.pth')))
    return path


def weights_of(work_dir):
    return torch.load(work_dir / 'epoch_2.pth', weights_only=True)['state_dict']


class Counted:
    """How often a teacher was asked."""

    def __init__(self, monkeypatch):
        from selfsup.models.teachers import Teacher

        self.calls, plain = 0, Teacher.__call__

        def call(teacher, *args, **kwargs):
            self.calls += 1
            return plain(teacher, *args, **kwargs)

        monkeypatch.setattr(Teacher, '__call__', call)


def test_answers_are_kept_from_epoch_to_epoch_and_run_to_run(config, tmp_path, monkeypatch):
    cache = f'model.cache={tmp_path / "answers"}'
    counted = Counted(monkeypatch)
    train(config, tmp_path / 'plain', curves=False)
    assert counted.calls == 6
    train(config, tmp_path / 'first', cache, curves=False)
    assert counted.calls == 9  # the second epoch read its answers
    train(config, tmp_path / 'second', cache, curves=False)
    assert counted.calls == 9
    plain, first, second = (weights_of(tmp_path / name) for name in ('plain', 'first', 'second'))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    whole, rounded = (torch.cat([value.float().flatten() for value in found.values()]) for found in (plain, first))
    assert 0 < (whole - rounded).norm() < 0.005 * whole.norm()  # answers are float16 on the disk
    (about,) = (tmp_path / 'answers').glob('*/about.json')
    assert json.loads(about.read_text())['images'] == 12
    # another size of the views, other images or another teacher are other answers
    train(config, tmp_path / 'other', cache, 'data.train.pipeline.0.size=(40, 40)', curves=False)
    assert counted.calls == 12 and len(list((tmp_path / 'answers').glob('*/about.json'))) == 2
    with pytest.raises(
        ConfigError, match=r'data\.train draws at random: RandomHorizontalFlip\. Leave model\.cache out'
    ):
        train(config, tmp_path / 'x', cache, "data.train.pipeline.0={'type': 'RandomHorizontalFlip'}", curves=False)


def test_a_run_goes_on_with_its_teacher_only(config, tmp_path):
    import timm

    train(config, tmp_path / 'straight', curves=False)
    train(config, tmp_path / 'run', stop_after=4, curves=False)
    saved = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=True)
    assert {name.split('.')[0] for name in saved['state_dict']} == {
        'backbone',
        'summary_projections',
        'feature_projections',
    }
    (named,) = saved['meta']['fingerprint']['teachers']
    assert named.startswith('test_resnet ') and len(named.split()[1]) == 64
    resume = {'resume_from': str(tmp_path / 'run' / 'epoch_1.pth'), 'curves': False}

    other = timm.create_model('test_resnet').state_dict()
    torch.save(other, tmp_path / 'other.pth')
    with pytest.raises(
        CheckpointError, match=r"the teachers, with the SHA-256 of their weights, was \['test_resnet \w{64}'\] and is"
    ):
        train(config, tmp_path / 'refused', f'model.teachers.0.file={tmp_path / "other.pth"}', **resume)
    moved = tmp_path / 'moved.pth'
    moved.write_bytes((tmp_path / 'teacher.pth').read_bytes())  # the same weights elsewhere are the same teacher
    train(config, tmp_path / 'resumed', f'model.teachers.0.file={moved}', **resume)
    straight, resumed = weights_of(tmp_path / 'straight'), weights_of(tmp_path / 'resumed')
    assert all(torch.equal(value, resumed[name]) for name, value in straight.items())

    out = tmp_path / 'student.pth'
    extract_backbone(str(tmp_path / 'resumed' / 'epoch_2.pth'), str(out))
    taken = torch.load(out, weights_only=True)['state_dict']
    assert {f'backbone.{name.removeprefix("backbone.")}' for name in taken} == {
        n for n in resumed if n.startswith('backbone.')
    }


def both_write(folder):
    """Two processes keep answers of their own and of the same images at once."""
    from selfsup import distributed

    stored = StoredAnswers(folder, {'teacher': 't'}, 40)
    mine = torch.arange(40)[distributed.rank() :: 2]
    for _ in range(20):
        stored.save(mine, Answer(mine[:, None].float(), None))
        stored.save(torch.arange(10), Answer(torch.arange(10.0)[:, None], None))
    return True


@pytest.mark.dist
def test_rows_on_disk(tmp_path):
    assert run_ranks(both_write, 2, str(tmp_path)) == [True, True]
    stored = StoredAnswers(str(tmp_path), {'teacher': 't'}, 40)
    like = torch.zeros(1)
    assert stored.load(torch.arange(40), like).summary[:, 0].tolist() == list(range(40))
    with pytest.raises(DataError, match=r'^idx goes from 39 to 40, but 40 images were counted\.$'):
        stored.load(torch.tensor([39, 40]), like)
    (file,) = tmp_path.glob('*/answers.bin')
    data = bytearray(file.read_bytes())
    data[6 * 3 + 4] ^= 1  # the answer for image 3
    file.write_bytes(data)
    again = StoredAnswers(str(tmp_path), {'teacher': 't'}, 40)
    assert again.load(torch.tensor([3]), like) is None and again.load(torch.tensor([2, 4]), like) is not None
    with pytest.raises(DataError, match='too large for float16'):
        again.save(torch.tensor([3]), Answer(torch.full((1, 1), 1e6), None))
    empty = StoredAnswers(str(tmp_path), {'teacher': 'u'}, 4)
    assert empty.load(torch.tensor([0]), like) is None
    maps = torch.randn(2, 3, 2, 2)
    given = empty.save(torch.tensor([3, 1]), Answer(torch.randn(2, 5), maps))
    found = empty.load(torch.tensor([3, 1]), like.double())
    assert torch.equal(found.maps, given.maps.double()) and torch.equal(found.summary, given.summary.double())
    assert empty.load(torch.tensor([3, 2]), like) is None and copy.deepcopy(empty) is empty
    (tmp_path / 'file').write_text('')
    with pytest.raises(DataError, match='could not be written'):
        StoredAnswers(str(tmp_path / 'file'), {'teacher': 'u'}, 4).save(torch.tensor([0]), Answer(maps, None))


@pytest.mark.parametrize(
    'about', ['', '{"sha', '[]', '{}', '{"shapes": [[-1]]}', '{"shapes": null}', '{"shapes": [[7]]}']
)
def test_a_damaged_description_of_the_rows_is_written_anew(tmp_path, about):
    numbers, like = torch.tensor([2, 0]), torch.zeros(1)
    stored = StoredAnswers(str(tmp_path), {'teacher': 't'}, 3)
    answer = stored.save(numbers, Answer(torch.randn(2, 5), torch.randn(2, 3, 2, 2)))
    (file,) = tmp_path.glob('*/about.json')
    whole = file.read_bytes()
    file.write_text(about)
    again = StoredAnswers(str(tmp_path), {'teacher': 't'}, 3)
    assert again.load(numbers, like) is None
    again.save(numbers, answer)
    assert file.read_bytes() == whole
    assert torch.equal(StoredAnswers(str(tmp_path), {'teacher': 't'}, 3).load(numbers, like).maps, answer.maps)


def test_a_cache_needs_numbers_and_views(tmp_path):
    teacher = {'type': 'TIMMTeacher', 'model_name': 'test_resnet', 'pretrained': False}
    backbone = {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 4, 'out_indices': (4,)}
    model = Distill(backbone, [teacher], {'mean': [0.5] * 3, 'std': [0.3] * 3}, cache=str(tmp_path))
    img = torch.randn(2, 3, 32, 32)
    with pytest.raises(ConfigError, match='use NPIDDataset'):
        model({'img': img})
    with pytest.raises(ConfigError, match='call use_views before the first step'):
        model({'img': img, 'idx': torch.tensor([0, 1])})
    model.use_views(lambda: Views(2, 'x', ()))
    first = model({'img': img, 'idx': torch.tensor([0, 1])}).losses
    assert torch.equal(first['loss_summary'], model({'img': img, 'idx': torch.tensor([0, 1])}).losses['loss_summary'])


@pytest.mark.parametrize('prefetch', [False, True], ids=['pipeline', 'device'])
def test_a_teacher_is_told_how_images_are_normalised(config, tmp_path, prefetch):
    options = [f'prefetch={prefetch}', 'total_epochs=1']
    train(config, tmp_path / 'right', *options)
    with pytest.raises(ConfigError) as refused:
        train(config, tmp_path / 'wrong', *options, 'model.img_norm_cfg.mean=[0.5,0.4,0.5]')
    assert str(refused.value) == (
        'model.img_norm_cfg has mean=[0.5, 0.4, 0.5], std=[0.3, 0.3, 0.3], but data.train normalises with mean=[0.5, 0.5, 0.5], '
        'std=[0.3, 0.3, 0.3]: the teachers would see shifted images. Give both the same.'
    )
