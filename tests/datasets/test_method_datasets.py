"""Datasets of NPID, DeepCluster, ODC, rotation and relative patches; datasets of datasets."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as TF

from selfsup.datasets import (
    ClassificationDataset,
    ConcatDataset,
    ContrastiveDataset,
    DeepClusterDataset,
    NPIDDataset,
    RelativeLocDataset,
    RepeatDataset,
    RotationPredDataset,
)
from selfsup.datasets.loaders import build_loader
from selfsup.errors import ConfigError, DataError
from selfsup.registry import DATASETS

from .conftest import TENSOR, truncate

CPU = torch.device('cpu')
DIGITS = dict(type='Digits', size=16)
PLAIN = [dict(type='ToTensor')]


class Pictures:
    """Ten images of `size` (W, H); every pixel of image i tells i and where it lies."""

    labels = np.arange(10) % 3

    def __init__(self, size=(12, 12)):
        self.width, self.height = size

    def __len__(self):
        return 10

    def read_image(self, index):
        y, x = np.mgrid[: self.height, : self.width]
        return Image.fromarray(np.stack([y, x, np.full_like(x, index)], axis=2).astype(np.uint8))

    def get_sample(self, index):
        return self.read_image(index), int(self.labels[index])


def pixels(view):
    """Float views in [0, 1] back to numbers 0 to 255."""
    return (view * 255).round().int()


# ---- NPID, DeepCluster ----


def test_samples_with_their_numbers():
    sample = NPIDDataset(Pictures(), PLAIN)[7]
    assert set(sample) == {'img', 'idx'} and sample['idx'] == 7 and int(pixels(sample['img'])[2, 0, 0]) == 7
    dataset = DATASETS.build(dict(type='DeepClusterDataset', data_source=DIGITS, pipeline=TENSOR))
    sample = dataset[3]
    assert set(sample) == {'img', 'pseudo_label', 'idx'} and sample['pseudo_label'] == -1 and sample['idx'] == 3
    dataset.assign_labels(np.arange(len(dataset)) % 5)
    assert [dataset[i]['pseudo_label'] for i in (3, 9)] == [3, 4]
    for wrong in ([0, 1], np.zeros((len(dataset), 1))):
        with pytest.raises(
            DataError, match=rf'DeepClusterDataset has {len(dataset)} samples; assign_labels got labels of shape'
        ):
            dataset.assign_labels(wrong)


def test_a_substitute_comes_with_its_own_number_and_label(folder):
    truncate(folder / 'cat' / '049.jpg')
    source = dict(type='ImageFolder', root=str(folder))
    for kind in (NPIDDataset, DeepClusterDataset):
        dataset = kind(source, TENSOR)
        if kind is DeepClusterDataset:
            dataset.assign_labels(torch.arange(100) + 1000)
            assert dataset[49]['pseudo_label'] == 1050
        assert dataset[49]['idx'] == 50 and torch.equal(dataset[49]['img'], dataset[50]['img'])


@pytest.mark.parametrize('workers', [0, 2])
def test_new_labels_reach_living_workers(workers):
    loader = build_loader(
        dict(batch_size=4, num_workers=workers, dataset=DeepClusterDataset(Pictures(), PLAIN)), seed=0, device=CPU
    )
    for epoch, labels in enumerate([torch.arange(10) + 5, 20 - torch.arange(10)]):
        loader.dataset.assign_labels(labels)
        loader.set_position(epoch)
        batches = list(loader)
        idx, found = (torch.cat([b[key] for b in batches]) for key in ('idx', 'pseudo_label'))
        assert (
            sorted(idx.tolist()) == list(range(10)) and torch.equal(found, labels[idx]) and found.dtype == torch.int64
        )
        assert torch.equal(torch.cat([pixels(b['img'])[:, 2, 0, 0] for b in batches]).long(), idx)
    loader.close()


def test_only_labels_need_memory_in_every_worker():
    dataset = DeepClusterDataset(Pictures(), PLAIN)
    assert dataset.pseudo_labels.is_shared() and dataset.labels.tolist() == Pictures.labels.tolist()


# ---- rotation ----


def test_rotations_are_counter_clockwise_in_the_order_of_their_labels():
    dataset = RotationPredDataset(Pictures(), PLAIN)
    sample, image = dataset[4], Pictures().read_image(4)
    assert (
        set(sample) == {'img', 'rot_label'}
        and sample['img'].shape == (4, 3, 12, 12)
        and sample['rot_label'].tolist() == [0, 1, 2, 3]
    )
    for turned, label in zip(sample['img'], sample['rot_label'].tolist(), strict=True):
        assert torch.equal(turned, TF.to_tensor(image.rotate(90 * label)))  # PIL turns counter-clockwise
    # What was top left is bottom left after a quarter turn counter-clockwise.
    corner = pixels(sample['img'])[1, :, 11, 0]
    assert corner.tolist() == [0, 0, 4]


def test_rotation_of_uint8_views_and_of_views_that_are_not_square():
    prefetched = RotationPredDataset(Pictures(), [], prefetch=True)[4]['img']
    assert prefetched.dtype == torch.uint8
    assert torch.equal(prefetched.int(), pixels(RotationPredDataset(Pictures(), PLAIN)[4]['img']))
    with pytest.raises(
        DataError, match=r'^sample 4: a view of 10 x 12 cannot be turned by 90 degrees: give the pipeline a'
    ):
        RotationPredDataset(Pictures((12, 10)), PLAIN)[4]


# ---- relative patches ----


def test_pairs_of_patches():
    dataset = RelativeLocDataset(Pictures((30, 36)), [], PLAIN, patch_jitter=4)
    torch.manual_seed(0)
    sample = dataset[5]
    img = pixels(sample['img'])  # cells of 12 x 10 pixels, patches of 8 x 6
    assert (
        set(sample) == {'img', 'patch_label'}
        and img.shape == (8, 6, 8, 6)
        and sample['patch_label'].tolist() == list(range(8))
    )
    outer, centre = img[:, :3], img[:, 3:]
    assert (centre == centre[0]).all() and (img[:, [2, 5]] == 5).all()
    places = [place for place in range(9) if place != 4]
    for patch, place in [*zip(outer, places, strict=True), (centre[0], 4)]:
        top, left = patch[0, 0, 0].item(), patch[1, 0, 0].item()
        assert (patch[0] - top).tolist() == [[i] * 6 for i in range(8)] and (patch[1] - left).T.tolist() == [
            [i] * 8 for i in range(6)
        ]
        assert 0 <= top - place // 3 * 12 <= 4 and 0 <= left - place % 3 * 10 <= 4


def test_patches_move_within_their_cells():
    dataset = RelativeLocDataset(Pictures((255, 255)), [], PLAIN)
    tops = set()
    for seed in range(12):
        torch.manual_seed(seed)
        img = pixels(dataset[0]['img'])
        assert img.shape == (8, 6, 64, 64)
        tops |= set((img[:, 0, 0, 0] - torch.tensor([0, 0, 0, 85, 85, 170, 170, 170])).tolist())
    assert min(tops) == 0 and max(tops) == 21  # 96 draws of 0 to 21


def test_relative_pipelines():
    uint8 = RelativeLocDataset(
        Pictures((30, 30)), [dict(type='RandomGrayscale', p=1.0)], prefetch=True, patch_jitter=2
    )[1]['img']
    assert uint8.dtype == torch.uint8 and uint8.shape == (8, 6, 8, 8) and torch.equal(uint8[:, 0], uint8[:, 2])
    with pytest.raises(
        DataError,
        match=r'^sample 1: cells of 10 x 10 pixels \(a third of 30 x 30\) leave nothing with patch_jitter=21: ',
    ):
        RelativeLocDataset(Pictures((30, 30)), [], PLAIN)[1]
    with pytest.raises(
        DataError, match=r'sample 1: the pipeline of RelativeLocDataset ends in Tensor, not in an image: move ToTensor'
    ):
        RelativeLocDataset(Pictures((30, 30)), PLAIN, PLAIN, patch_jitter=2)[1]
    with pytest.raises(ConfigError, match='format_pipeline makes no tensor'):
        RelativeLocDataset(Pictures(), [], [])
    with pytest.raises(ConfigError, match='patch_jitter=-1: must be a whole number >= 0'):
        RelativeLocDataset(Pictures(), [], PLAIN, patch_jitter=-1)


# ---- datasets of datasets ----


def test_concatenated_datasets():
    one, two = NPIDDataset(Pictures(), PLAIN), NPIDDataset(Pictures((8, 12)), PLAIN)
    dataset = ConcatDataset([one, two])
    assert len(dataset) == 20 and dataset.labels.tolist() == [*Pictures.labels, *Pictures.labels]
    assert dataset[3]['idx'] == 3 and dataset[13]['idx'] == 13 and torch.equal(dataset[13]['img'], two[3]['img'])
    assert dataset[9]['img'].shape[-1] == 12 and dataset[10]['img'].shape[-1] == 8
    with pytest.raises(IndexError):
        dataset[20]


def test_concatenation_from_a_config_with_prefetch():
    member = dict(type='DeepClusterDataset', data_source=DIGITS, pipeline=[])
    cfg = dict(type='ConcatDataset', datasets=[member, member])
    norm = dict(mean=[0.5] * 3, std=[0.5] * 3)
    loader = build_loader(dict(batch_size=4, dataset=cfg, prefetch=True, img_norm_cfg=norm), seed=0, device=CPU)
    half = len(loader.dataset) // 2
    loader.dataset.assign_labels(torch.arange(2 * half))
    batch = next(iter(loader))
    assert torch.equal(batch['idx'], batch['pseudo_label']) and batch['img'].is_floating_point()
    assert loader.dataset.datasets[1][0]['pseudo_label'] == half
    with pytest.raises(DataError, match=f'ConcatDataset has {2 * half} samples; assign_labels got'):
        loader.dataset.assign_labels(torch.arange(half))


def test_concatenation_evaluates_by_size():
    one, two = (ClassificationDataset(Pictures(), PLAIN) for _ in range(2))
    scores = torch.nn.functional.one_hot(torch.as_tensor(Pictures.labels), 3).float()
    dataset = ConcatDataset([one, RepeatDataset(two, 1).dataset])
    assert dataset.evaluate(torch.cat([scores, scores.roll(1, dims=1)]), 'h', topk=(1,)) == {'h_top1': 50.0}


def test_repeated_datasets():
    base = DeepClusterDataset(Pictures(), [dict(type='RandomCrop', size=6), *PLAIN])
    dataset = RepeatDataset(base, times=3)
    assert len(dataset) == 30 and len(dataset.labels) == 30 and dataset[27]['idx'] == 7
    dataset.assign_labels(torch.arange(10) * 2)
    loader = build_loader(dict(batch_size=30, dataset=dataset), seed=0, device=CPU)
    batch = next(iter(loader))
    assert torch.bincount(batch['idx']).tolist() == [3] * 10 and torch.equal(batch['pseudo_label'], 2 * batch['idx'])
    views = {tuple(v.flatten().tolist()) for v in batch['img']}
    assert len(views) > 20  # other crops of the same image
    with pytest.raises(IndexError):
        dataset[30]


def test_wrapper_errors():
    moco, npid = ContrastiveDataset(DIGITS, TENSOR), NPIDDataset(DIGITS, TENSOR)
    with pytest.raises(ConfigError, match='ConcatDataset holds ContrastiveDataset and NPIDDataset'):
        ConcatDataset([moco, npid])
    with pytest.raises(ConfigError, match=r'prefetch=\[False, True\]: one type and one prefetch'):
        ConcatDataset([npid, NPIDDataset(DIGITS, [], prefetch=True)])
    with pytest.raises(ConfigError, match=r'datasets=\[\]: must be a list of 1 or more'):
        ConcatDataset([])
    with pytest.raises(ConfigError, match='times=0: must be a whole number >= 1'):
        RepeatDataset(npid, times=0)
