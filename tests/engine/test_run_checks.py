"""What is refused before the first step because of the data, the batch size or the machine."""

import warnings

import pytest
import torch
from torch.utils.data import Dataset

from selfsup.datasets.loaders import build_loader
from selfsup.datasets.wrappers import RepeatDataset
from selfsup.engine.run_checks import batch_sizes, check_run, number_of_images, trains_on_one
from selfsup.errors import ConfigError, SelfSupError, SelfSupWarning
from tests.models.tiny_models import IMAGES, TINY_RESNET, tiny_batch, tiny_model
from tests.resume.runs import train, write_config

METHODS = (
    'MOCO',
    'SimCLR',
    'BYOL',
    'Classification',
    'RotationPred',
    'RelativeLoc',
    'NPID',
    'DeepCluster',
    'ODC',
    'SparK',
    'FCMAE',
)
CONVNEXT = {'type': 'ConvNeXtV2', 'depths': (1, 1, 1, 1), 'dims': (8, 8, 8, 8), 'out_indices': (4,)}
LONELY = (
    r'The last of the 3 batches of an epoch would hold one image per process \(33 images, data\.imgs_per_gpu=16\), and {} cannot '
    r'train on that: .*Set data\.drop_last=True, or data\.imgs_per_gpu=15\.$'
)


class Batches(Dataset):
    """Samples such as the model reads, `size` of them."""

    prefetch, ragged = False, ()

    def __init__(self, model, size, pixels=32):
        self.model, self.size, self.pixels = model, size, pixels

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        sample = {key: value[0] for key, value in tiny_batch(self.model, 1, self.pixels).items()}
        if 'pseudo_label' in sample:
            sample['pseudo_label'] = torch.tensor(-1)  # what the data set gives before the first clustering
        return {**sample, **({'idx': torch.tensor(index)} if 'idx' in sample else {})}


def loader_of(model, size=33, batch=16, pixels=32, **cfg):
    return build_loader(
        dict(batch_size=batch, dataset=Batches(model, size, pixels), **cfg), seed=0, device=torch.device('cpu')
    )


def build(method):
    torch.manual_seed(0)
    return tiny_model(method, CONVNEXT if method == 'FCMAE' else TINY_RESNET, 8 if method == 'FCMAE' else 64)


@pytest.mark.parametrize(
    ('size', 'batch', 'iters', 'drop', 'expected'),
    [
        (33, 16, 9, False, [16, 1]),
        (33, 16, 2, False, [16]),
        (33, 16, 9, True, [16]),
        (32, 16, 9, False, [16]),
        (5, 16, 9, False, [5]),
        (3, 1, 9, False, [1]),
        (1, 16, 9, False, [1]),
        (35, 16, 9, False, [16, 3]),
    ],
)
def test_sizes_of_all_batches_of_a_run(size, batch, iters, drop, expected):
    assert batch_sizes(loader_of(build('MOCO'), size, batch, drop_last=drop), iters) == expected


def test_sizes_are_those_that_the_loader_gives():
    for size in range(1, 14):
        for batch in (1, 2, 3, 4):
            loader = loader_of(build('Classification'), size, batch)
            found = [len(rows['img']) for rows in loader]
            assert list(dict.fromkeys(found)) == batch_sizes(loader, len(found)), (size, batch)


@pytest.mark.parametrize('pixels', [32, 64])
@pytest.mark.parametrize('method', METHODS)
def test_whether_one_image_is_enough_is_what_torch_says_when_it_trains(method, pixels):
    """With 32 pixels the last map of this ResNet is one position, with 64 it is four."""
    model = build(method)
    batch = tiny_batch(model, 1, pixels)
    try:
        model(batch, mode='loss')
        trains = True
    except ValueError as error:
        assert 'more than 1 value per channel' in str(error)
        trains = False
    model = build(method)
    if method == 'ODC':
        model.memory_bank.initialized.fill_(False)  # as before the first clustering
    model.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.manual_seed(5)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert trains_on_one(model, loader_of(model, pixels=pixels)) == trains
    assert torch.equal(torch.rand(3), drawn) and not model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_both_answers_occur():
    """Else the comparison above could not fail."""
    answers = {
        method: trains_on_one(model := build(method), loader_of(model, pixels=64))
        for method in ('MOCO', 'BYOL', 'ODC', 'SimCLR')
    }
    assert answers == {'MOCO': True, 'BYOL': False, 'ODC': False, 'SimCLR': True}


@pytest.mark.parametrize('method', ['BYOL', 'Classification', 'DeepCluster'])
def test_a_last_batch_of_one_is_refused_before_training(method):
    model = build(method)  # 32 pixels: one position in the last map, so that batch norms of the backbone fail as well
    with pytest.raises(ConfigError, match=LONELY.format(method)):
        check_run(model, loader_of(model), 100)
    check_run(model, loader_of(model, drop_last=True), 100)
    check_run(model, loader_of(model, size=34), 100)
    check_run(model, loader_of(model), 2)  # the run is over before it comes to the last batch


def test_the_batch_size_that_is_named_helps():
    model = build('BYOL')
    for size, batch in ((33, 16), (3, 2), (7, 3), (1025, 512), (5, 4)):
        with pytest.raises(ConfigError, match=r'data\.imgs_per_gpu=\d+\.$') as error:
            check_run(model, loader_of(model, size, batch), 10_000)
        check_run(model, loader_of(model, size, int(str(error.value).rstrip('.').rpartition('=')[2])), 10_000)


@pytest.mark.parametrize(
    ('size', 'batch', 'message'),
    [
        (
            4,
            1,
            r'The batches hold one image per process \(data\.imgs_per_gpu=1\), and BYOL cannot .*Set data\.imgs_per_gpu to 2 or more\.$',
        ),
        (1, 16, r'The batches hold one image per process \(1 images\), and BYOL cannot .*Give more images\.$'),
    ],
)
def test_batches_that_are_all_of_one_image(size, batch, message):
    model = build('BYOL')
    with pytest.raises(ConfigError, match=message):
        check_run(model, loader_of(model, size, batch), 100)


@pytest.mark.parametrize(
    ('size', 'batch', 'remedy'),
    [
        (6, 1, r'set data\.imgs_per_gpu to 2 or more'),
        (7, 3, r'set data\.drop_last=True'),
        (1, 8, r'set data\.imgs_per_gpu to 2 or more'),
    ],
)
def test_simclr_needs_another_image_in_its_batch(size, batch, remedy):
    model = build('SimCLR')
    with pytest.raises(ConfigError, match=rf'SimCLR contrasts each image with the others.* holds 1 image .*{remedy}'):
        check_run(model, loader_of(model, size, batch), 100)
    check_run(model, loader_of(model, 8, 4), 100)
    model.check_data(images=8, batches=[2])  # one image on each of two processes


@pytest.mark.parametrize('method', ['NPID', 'ODC'])
@pytest.mark.parametrize('images', [IMAGES - 1, IMAGES + 1])
def test_memories_have_one_entry_per_image(method, images):
    model = build(method)
    with pytest.raises(
        ConfigError,
        match=rf'memory_bank\.length={IMAGES}, but there are {images} training images: set it to {images}\.',
    ):
        check_run(model, loader_of(model, images, 4), 100)
    check_run(model, loader_of(model, IMAGES, 4), 100)


def test_images_of_a_repeated_data_set_are_counted_once():
    model = build('NPID')
    repeated = RepeatDataset(Batches(model, IMAGES), times=3)
    assert number_of_images(repeated) == IMAGES
    loader = build_loader(dict(batch_size=4, dataset=repeated), seed=0, device=torch.device('cpu'))
    check_run(model, loader, 100)


def test_more_negatives_than_images_are_said():
    model = build('NPID')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model.check_data(IMAGES, [4])
    model.neg_num = 5 * IMAGES
    with pytest.warns(
        SelfSupWarning, match=rf'neg_num=60 .* each comes 5 times on average: set model\.neg_num={IMAGES} or less'
    ):
        model.check_data(IMAGES, [4])


@pytest.mark.parametrize(('images', 'batches', 'fitting'), [(10, [4, 2], 4), (9, [2, 1], 2), (2, [2], 2)])
def test_a_queue_longer_than_the_data_names_one_that_fits(images, batches, fitting):
    model = build('MOCO')  # queue_len=10
    with pytest.warns(
        SelfSupWarning, match=rf'queue_len=10 holds the keys .* epoch of {images} .*set model\.queue_len={fitting}\.'
    ):
        model.check_data(images, batches)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model.check_data(11, batches)


def test_a_queue_shorter_than_a_global_batch_is_said_before_training():
    with pytest.raises(SelfSupError, match='queue_len=10 keys, fewer than one global batch of 12'):
        build('MOCO').check_data(100, [12])


def test_training_refuses_before_it_starts(tmp_path):
    config = write_config(tmp_path, 'BYOL')  # 24 images
    with pytest.raises(ConfigError, match=r'The last of the 2 batches .* BYOL cannot train'):
        train(config, tmp_path / 'byol', 'data.drop_last=False', 'data.imgs_per_gpu=23', curves=False)
    assert not list((tmp_path / 'byol').glob('*.pth'))
    done = train(
        config,
        tmp_path / 'fits',
        'data.drop_last=False',
        'data.imgs_per_gpu=23',
        'total_iters=1',
        'total_epochs=None',
        curves=False,
    )
    assert (done / 'latest.pth').exists()


@pytest.mark.parametrize(
    ('method', 'message'),
    [
        ('RotationPred', r'The rotations of an image have 4 classes, but model\.head\.num_classes=3: set it to 4'),
        ('RelativeLoc', r'The places around a patch have 8 classes, but model\.head\.num_classes=3: set it to 8'),
        ('Classification', r'The training images have 7 classes, but model\.head\.num_classes=3: set it to 7'),
    ],
)
def test_each_method_says_how_many_classes_its_head_needs(method, message):
    model = build(method)
    model.check_classes(3)
    model.head.num_classes = 3
    with pytest.raises(SelfSupError, match=message):
        model.check_classes(7)
