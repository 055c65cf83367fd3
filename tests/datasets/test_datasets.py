"""Task datasets: what a sample holds, evaluation, errors."""

import numpy as np
import pytest
import torch
from PIL import Image

from selfsup.datasets import BYOLDataset, ClassificationDataset, ContrastiveDataset, ExtractDataset
from selfsup.errors import ConfigError, DataError, SelfSupWarning, ShapeError
from selfsup.registry import DATASETS

from .conftest import TENSOR, save_image

DIGITS = dict(type='Digits', size=16)
CROP = dict(type='RandomResizedCrop', size=12, scale=(0.2, 1.0))


def test_contrastive_gives_two_different_draws():
    torch.manual_seed(0)  # two draws in a hundred or so are the whole image
    sample = DATASETS.build(dict(type='ContrastiveDataset', data_source=DIGITS, pipeline=[CROP, *TENSOR]))[3]
    assert set(sample) == {'img'} and sample['img'].shape == (2, 3, 12, 12) and sample['img'].dtype == torch.float32
    assert not torch.equal(sample['img'][0], sample['img'][1])


def test_byol_uses_a_pipeline_per_view():
    sample = BYOLDataset(DIGITS, TENSOR, [dict(type='Solarization', threshold=0), *TENSOR])[3]
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    plain, inverted = sample['img'] * std + mean
    torch.testing.assert_close(plain, 1 - inverted)


def test_classification_and_extract():
    classified, extracted = ClassificationDataset(DIGITS, TENSOR), ExtractDataset(DIGITS, TENSOR)
    assert set(classified[5]) == {'img', 'gt_label'} and set(extracted[5]) == {'img'}
    assert classified[5]['gt_label'] == classified.data_source.labels[5] and len(classified) == len(
        classified.data_source
    )
    assert torch.equal(classified[5]['img'], extracted[5]['img']) and extracted[5]['img'].shape == (3, 16, 16)


def test_prefetch_hands_out_uint8():
    for steps in ([], [dict(type='PILToTensor')]):
        image = ExtractDataset(DIGITS, steps, prefetch=True)[5]['img']
        assert image.dtype == torch.uint8 and image.shape == (3, 16, 16)
        source = ExtractDataset(DIGITS, TENSOR).data_source.read_image(5)
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(source))


class OwnSource:
    """The least that a source of the user's own must have."""

    def __len__(self):
        return 100

    def get_sample(self, index):
        return Image.new('RGB', (8, 8), (index, 0, 0))


def test_a_source_object_is_taken_as_it_is():
    source = OwnSource()
    dataset = ExtractDataset(source, [dict(type='ToTensor')])
    assert dataset.data_source is source and dataset[7]['img'][0, 0, 0] == 7 / 255
    with pytest.raises(ConfigError, match='ClassificationDataset needs labels, but OwnSource has none'):
        ClassificationDataset(source, TENSOR)


def test_errors():
    with pytest.raises(
        ConfigError, match=r"data_source='Digits' is the name of a type: write dict\(type='Digits', ...\)"
    ):
        ExtractDataset('Digits', TENSOR)
    with pytest.raises(ConfigError, match='return_label=True'):
        ClassificationDataset({**DIGITS, 'return_label': False}, TENSOR)
    with pytest.raises(ConfigError, match=r'pipeline2 makes no tensor'):
        BYOLDataset(DIGITS, TENSOR, [CROP])
    with pytest.raises(
        ConfigError, match=r'pipeline holds Normalize, but with prefetch images leave the dataset as uint8'
    ):
        ContrastiveDataset(DIGITS, TENSOR[1:], prefetch=True)
    with pytest.raises(DataError, match=r'digits train image 4: the pipeline ends in torch.uint8, not in floats'):
        ExtractDataset(DIGITS, [dict(type='PILToTensor')])[4]
    with pytest.raises(DataError, match=r'digits train image 4: the pipeline ends in Image, not in a tensor'):
        ExtractDataset(DIGITS, [lambda image: image])[4]
    with pytest.raises(DataError, match=r'digits train image 4: pipeline step RandomCrop failed on a 16x16 image'):
        ExtractDataset(DIGITS, [dict(type='RandomCrop', size=99), *TENSOR])[4]
    with pytest.raises(
        DataError, match=r'with prefetch=True the pipeline must end in an 8-bit image, not in torch.float32'
    ):
        ExtractDataset(DIGITS, [lambda image: torch.rand(3, 4, 4)], prefetch=True)[4]
    with pytest.raises(DataError, match=r'its views differ in size: \(3, 12, 12\), \(3, 16, 16\)'):
        BYOLDataset(DIGITS, [CROP, *TENSOR], TENSOR)[4]


def classes(tmp_path, labels):
    for i, label in enumerate(labels):
        save_image(tmp_path / f'class{label}' / f'{i}.png', seed=i)
    return ClassificationDataset(dict(type='ImageFolder', root=str(tmp_path)), TENSOR)


def test_evaluate(tmp_path):
    dataset = classes(tmp_path, [0, 0, 1, 2])
    scores = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [2.0, 1.0, 3.0], [0.0, 0.0, 9.0]])
    # ranks of the true class: 1, 3, 3, 1
    assert dataset.evaluate(scores, 'head1', topk=(1, 2, 3)) == {
        'head1_top1': 50.0,
        'head1_top2': 50.0,
        'head1_top3': 100.0,
    }
    scores[0] = float('nan')
    assert dataset.evaluate(scores, 'x', topk=(1, 3)) == {'x_top1': 25.0, 'x_top3': 75.0}


def test_evaluate_with_a_k_above_the_classes(tmp_path):
    dataset = classes(tmp_path, [0, 1])
    with pytest.warns(SelfSupWarning, match=r'topk=\(1, 5\) on 2 classes: a k above 2 is counted as 2'):
        assert dataset.evaluate(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), 'h') == {'h_top1': 50.0, 'h_top5': 100.0}


def test_evaluate_errors(tmp_path):
    dataset = classes(tmp_path, [0, 1, 2])
    with pytest.raises(ShapeError, match=r'scores \(N, K\) for all N = 3 samples in order; got \(2, 3\)'):
        dataset.evaluate(torch.zeros(2, 3), 'h')
    with pytest.raises(ShapeError, match='scores for 2 classes, but labels up to 2: set num_classes of the head to 3'):
        dataset.evaluate(torch.zeros(3, 2), 'h')
    with pytest.raises(ConfigError, match='topk'):
        dataset.evaluate(torch.zeros(3, 3), 'h', topk=(0,))
