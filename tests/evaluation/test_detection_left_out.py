"""Images that cannot be read or were left out, and models that an average precision would say nothing of."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from selfsup.datasets.data_sources import VOCDetection
from selfsup.datasets.loaders import build_loader
from selfsup.errors import CheckpointError, ConfigError, DataError
from selfsup.evaluation.detection.average_precision import (
    Detections,
    detect_and_evaluate,
    evaluate_detector,
    voc_numbers,
)

from .detection_runs import Oracle, evaluate, sources


def many(shapes, folder, missing=()):
    """150 images in COCO's format, the five of `shapes` again and again, perhaps with files that are not there."""
    content = json.loads((shapes / 'coco' / 'train.json').read_text())
    images, objects = content['images'], content['annotations']
    content['images'] = [{**image, 'id': image['id'] + 5 * copy} for copy in range(30) for image in images]
    content['annotations'] = [
        {**one, 'id': one['id'] + len(objects) * copy, 'image_id': one['image_id'] + 5 * copy}
        for copy in range(30)
        for one in objects
    ]
    for index in missing:
        content['images'][index]['file_name'] = f'missing{index}.jpg'
    (folder / 'many.json').write_text(json.dumps(content))
    return {**sources(shapes)['coco'], 'ann_file': str(folder / 'many.json')}


def test_an_image_that_cannot_be_read_is_left_out(shapes, tmp_path, caplog):
    """Its neighbour's objects are found in its place: counted, they would be mistakes."""
    with caplog.at_level('WARNING', 'selfsup'):
        numbers = evaluate(many(shapes, tmp_path, missing=[3]), batch=10)
    assert numbers['AP'] == pytest.approx(100, abs=0.01)
    assert '1 of 150 images cannot be read: the evaluation leaves them out and counts the other 149.' in caplog.messages
    with pytest.raises(
        DataError, match=r'2 of 150 images cannot be read, more than 1%.*missing3\.jpg, .*missing77\.jpg'
    ):
        evaluate(many(shapes, tmp_path, missing=[3, 77]), batch=10)


def test_voc_leaves_out_what_cannot_be_read(shapes):
    source = VOCDetection(**{key: value for key, value in sources(shapes)['voc'].items() if key != 'type'})
    right = [
        Detections(o.boxes, o.labels, np.ones(len(o.labels), np.float32))
        for o in map(source.objects, range(len(source)))
    ]
    spoilt = [right[1], *right[1:]]  # what a neighbour gives in the place of image 0
    assert voc_numbers(source, spoilt)['AP'] < 99
    assert voc_numbers(source, spoilt, kept=[1, 2, 3, 4]) == pytest.approx({'AP': 100, 'AP50': 100, 'AP75': 100})


def test_images_that_were_left_out(shapes, tmp_path):
    content = json.loads((shapes / 'coco' / 'train.json').read_text())
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] != 2]
    (tmp_path / 'fewer.json').write_text(json.dumps(content))
    source = {**sources(shapes)['coco'], 'ann_file': str(tmp_path / 'fewer.json')}
    with pytest.raises(
        ConfigError, match=r'1 images without objects are left out of the data to evaluate on.*keep_empty=True'
    ):
        evaluate({**source, 'keep_empty': False})
    # Every image has some.
    assert evaluate({**sources(shapes)['coco'], 'keep_empty': False})['AP'] == pytest.approx(100, abs=0.01)


def test_a_diverged_model_has_no_average_precision(shapes):
    loader = build_loader(
        {
            'batch_size': 2,
            'dataset': {'type': 'DetectionDataset', 'data_source': sources(shapes)['coco'], 'pipeline': []},
            'prefetch': True,
            'img_norm_cfg': {'mean': [0.5] * 3, 'std': [0.5] * 3},
        },
        seed=0,
        device=torch.device('cpu'),
    )
    model = Oracle(loader.dataset, range(5))
    model.weight = nn.Parameter(torch.tensor([1.0, float('nan')]))
    with pytest.raises(
        CheckpointError, match='1 tensors of the model hold NaN or infinity, such as weight: its training diverged'
    ):
        detect_and_evaluate(model, loader)


def test_other_classes_and_unreadable_images(shapes, tmp_path):
    with pytest.raises(ConfigError, match=r'3 classes, but model\.num_classes=4'):
        loader = build_loader(
            {
                'batch_size': 2,
                'dataset': {
                    'type': 'DetectionDataset',
                    'data_source': sources(shapes)['coco'],
                    'pipeline': [{'type': 'ToImage'}],
                },
            },
            seed=0,
            device=torch.device('cpu'),
        )
        model = Oracle(loader.dataset, [])
        model.num_classes = 4
        evaluate_detector(model, loader)
    shutil.copytree(shapes, tmp_path / 'copy')
    (tmp_path / 'copy' / 'coco' / 'train' / 'train_0001.jpg').write_bytes(b'no image')
    with pytest.raises(DataError, match=r'1 of 5 images cannot be read.*train_0001\.jpg'):
        evaluate(sources(tmp_path / 'copy')['coco'])
