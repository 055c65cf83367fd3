"""Views of several sizes: samples, batches, what counts their images, and the picture of them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from selfsup.datasets import BYOLDataset, ConcatDataset, ContrastiveDataset, MultiViewDataset, RepeatDataset
from selfsup.datasets.data_sources import Digits
from selfsup.datasets.loaders import SeededDataset, build_loader, first_image, images_in
from selfsup.datasets.loaders.seeded import Failure, collate
from selfsup.engine.run_checks import trains_on_one
from selfsup.errors import ConfigError, DataError
from selfsup.registry import DATASETS

from .conftest import TENSOR
from .loader_runs import NORM, VIEWS, FirstDigits

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device('cpu')
LARGE = VIEWS  # 10 pixels
SMALL = [dict(type='RandomResizedCrop', size=6, scale=(0.1, 0.4)), dict(type='RandomHorizontalFlip')]
CROPS = [dict(number=2, pipeline=LARGE), dict(number=3, pipeline=SMALL)]


def ended(views):
    """`views` whose pipelines make normalised tensors."""
    return [{**entry, 'pipeline': [*entry['pipeline'], *TENSOR]} for entry in views]


def make(views=CROPS, workers=0, prefetch=False, backend='reference'):
    dataset = dict(type='MultiViewDataset', data_source=FirstDigits(20), views=views if prefetch else ended(views))
    settings = dict(prefetch=True, img_norm_cfg=NORM) if prefetch else {}
    return build_loader(
        dict(batch_size=8, num_workers=workers, dataset=dataset, pipeline_backend=backend, **settings),
        seed=3,
        device=CPU,
    )


def groups_of(loader):
    loader.set_position(1)
    return [group for batch in loader for group in batch['img']]


def same(one, other):
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_it_gives_what_the_datasets_of_two_views_give():
    other = [*SMALL[1:], *LARGE]
    pairs = [
        (ContrastiveDataset(FirstDigits(5), LARGE + TENSOR), [dict(number=2, pipeline=LARGE)]),
        (
            BYOLDataset(FirstDigits(5), LARGE + TENSOR, other + TENSOR),
            [dict(pipeline=LARGE), dict(pipeline=other)],
        ),
    ]
    for short, views in pairs:
        ours = MultiViewDataset(FirstDigits(5), ended(views))
        for draw in ((0, 1, 0), (4, 2, 1)):
            assert torch.equal(SeededDataset(short, 1)[draw]['img'], SeededDataset(ours, 1)[draw]['img'])


def test_views_of_one_size_that_follow_each_other_stand_together():
    views = [dict(pipeline=LARGE), dict(number=2, pipeline=SMALL), dict(pipeline=SMALL[:1]), dict(pipeline=LARGE)]
    dataset = SeededDataset(MultiViewDataset(FirstDigits(5), ended(views)), 0)
    found = dataset[(0, 1, 0)]['img']
    assert [tuple(group.shape) for group in found] == [(1, 3, 10, 10), (3, 3, 6, 6), (1, 3, 10, 10)]
    # the draws go through the views in their order: what is listed later changes nothing before it
    fewer = SeededDataset(MultiViewDataset(FirstDigits(5), ended(views[:2])), 0)[(0, 1, 0)]['img']
    assert torch.equal(fewer[0], found[0]) and torch.equal(fewer[1], found[1][:2])
    assert not torch.equal(found[1][0], found[1][1])


def test_an_image_is_read_once_for_all_views():
    class Counting(Digits):
        reads = 0

        def get_sample(self, index):
            self.reads += 1
            return super().get_sample(index)

    source = Counting(size=12)
    assert len(MultiViewDataset(source, ended(CROPS))[3]['img']) == 2 and source.reads == 1


def test_batches_hold_groups_whatever_reads_them():
    groups = groups_of(make())
    assert [tuple(group.shape) for group in groups] == [
        (8, 2, 3, 10, 10),
        (8, 3, 3, 6, 6),
    ] * 2 + [(4, 2, 3, 10, 10), (4, 3, 3, 6, 6)]
    loader = make(workers=2)
    assert same(groups, groups_of(loader))
    loader.close()
    normalised = groups_of(make(prefetch=True))  # on the device, with the operations of ToTensor and Normalize
    assert same(groups, normalised)
    assert not same(groups[:2], [group + 1e-3 for group in normalised[:2]])


def test_the_views_of_both_backends_come_from_the_same_draws():
    """Flip and place of the crop are the same; blurred and coloured pixels may differ a little."""
    for one, other in zip(groups_of(make()), groups_of(make(backend='fast')), strict=True):
        assert one.shape == other.shape and (one - other).abs().mean() < 0.05


def test_images_are_counted_and_memory_measured_over_all_groups():
    loader = make(workers=1)
    batch = loader.peek()
    assert images_in(batch) == 8 and [tuple(group.shape) for group in first_image(batch)] == [
        (2, 3, 10, 10),
        (3, 3, 6, 6),
    ]
    assert loader.shared_memory_needed() == 4 * 3 * (2 * 100 + 3 * 36) * 8 * 3  # floats of 8 images, three batches
    loader.close()
    for img in (torch.zeros(5, 3, 4, 4), torch.zeros(5, 2, 3, 4, 4), [torch.zeros(3, 4, 4)] * 5):
        assert images_in({'img': img}) == 5 and torch.equal(first_image({'img': img}), img[0])


def test_the_trial_batch_of_one_image_holds_all_groups():
    seen = []

    class Method(torch.nn.Module):
        def trial(self, batch):
            seen.extend(tuple(group.shape) for group in batch['img'])

    assert trains_on_one(Method(), make()) and seen == [(1, 2, 3, 10, 10), (1, 3, 3, 6, 6)]


def test_datasets_of_datasets():
    part = dict(type='MultiViewDataset', data_source=dict(type='Digits', size=12), views=ended(CROPS))
    two = ConcatDataset([part, part])
    assert len(two) == 2 * len(DATASETS.build(part))
    assert [len(group) for group in two[len(two) - 1]['img']] == [2, 3]
    assert [len(group) for group in RepeatDataset(part, 2)[3]['img']] == [2, 3]


def test_samples_with_other_groups_are_refused_in_one_line():
    one, other = {'img': [torch.zeros(2, 3, 8, 8), torch.zeros(1, 3, 4, 4)]}, {'img': [torch.zeros(2, 3, 8, 8)]}
    assert not isinstance(collate([one, one]), Failure)
    for samples in ([one, other], [one, {'img': [one['img'][0], torch.zeros(1, 3, 5, 5)]}]):
        failure = collate(samples)
        assert isinstance(failure, Failure)
        with pytest.raises(DataError, match=r'differ in size: .*\(2, 3, 8, 8\) and \(1, 3, 4, 4\).*End the pipeline'):
            raise failure.error


@pytest.mark.parametrize(
    ('views', 'message'),
    [
        ([], 'must be a list of 1 or more'),
        ([dict(number=0, pipeline=TENSOR)], r'views\.0\.number=0: must be a whole number >= 1'),
        ([dict(number=2)], "lacks 'pipeline'"),
        ([dict(numbers=2, pipeline=TENSOR)], r"is not a key of .*views\. Did you mean 'number'"),
        ([dict(pipeline=SMALL)], r'views\.0\.pipeline makes no tensor'),
    ],
)
def test_what_is_no_list_of_views(views, message):
    with pytest.raises(ConfigError, match=message):
        MultiViewDataset(FirstDigits(3), views)


CONFIG = '''"""Views of two sizes, to look at."""
model = dict(type='BYOL', backbone=dict(type='ResNet', depth=18), neck=dict(type='NonLinearNeckV2', in_channels=512,
    hid_channels=8, out_channels=8), head=dict(type='LatentPredictHead', predictor=dict(type='NonLinearNeckV2', in_channels=8,
    hid_channels=8, out_channels=8, with_avg_pool=False)))
crop = dict(type='RandomResizedCrop', size=32)
data = dict(imgs_per_gpu=4, workers_per_gpu=0, train=dict(type='MultiViewDataset', data_source=dict(type='Digits'),
    views=[dict(number=2, pipeline=[crop, dict(type='ToTensor')]),
           dict(number=3, pipeline=[dict(crop, size=16), dict(type='ToTensor')])]))
optimizer = dict(type='SGD', lr=0.1)
total_epochs = 1
'''


def test_the_picture_holds_the_views_of_all_sizes_and_doctor_names_what_the_method_takes(tmp_path):
    (tmp_path / 'crops.py').write_text(CONFIG)

    def tool(name, *options):
        command = [sys.executable, str(ROOT / 'tools' / name), str(tmp_path / 'crops.py'), *options]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200)

    run = tool('show_views.py', '-n', '2', '--epochs', '1', '--out', str(tmp_path / 'views.png'))
    assert run.returncode == 0, run.stderr
    with Image.open(tmp_path / 'views.png') as picture:
        assert picture.size[0] == 16 + 112 + 16 + 5 * 112 + 4 * 4 + 16  # margins, the image, five views
    run = tool('doctor.py', '--seconds', '0.2')
    assert run.returncode == 1 and 'pipeline:' in run.stdout
    expected = 'error: BYOL needs img of shape (B, 2, C, H, W), 2 views per image; got a list of 2 tensors, (4, 2, 3, 32, 32) and '
    assert run.stderr.strip().splitlines()[-1].startswith(expected + '(4, 3, 3, 16, 16): use BYOLDataset')
