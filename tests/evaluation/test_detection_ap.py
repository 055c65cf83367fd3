"""Average precision of a detector: COCO's through pycocotools, and the way back to the pixels of the original image."""

import json
import re
import shutil

import numpy as np
import pytest
import torch

from selfsup.datasets.data_sources import COCO
from selfsup.datasets.loaders import build_loader
from selfsup.errors import ConfigError, DataError
from selfsup.evaluation.detection.average_precision import (
    Detections,
    coco_ap,
    evaluate_detector,
)

from .detection_runs import Oracle, evaluate, sources


@pytest.mark.parametrize('kind', ['coco', 'voc'])
def test_the_truth_has_100_at_any_size_and_a_shift_costs(shapes, kind):
    source = sources(shapes)[kind]
    larger = [{'type': 'RandomShortestSize', 'min_size': 200, 'max_size': 320}]
    for pipeline in ((), larger):
        numbers = evaluate(source, pipeline)
        assert {name: numbers[name] for name in ('AP', 'AP50', 'AP75')} == pytest.approx(
            {'AP': 100, 'AP50': 100, 'AP75': 100}, abs=0.01
        )
    moved = evaluate(source, shift=3.0)  # IoU about 0.8
    assert moved['AP50'] == pytest.approx(100, abs=0.01) and 20 < moved['AP'] < 90
    assert evaluate(source, shift=1000.0)['AP'] == 0


def test_masks_are_pasted_into_the_original_image(shapes):
    numbers = evaluate(
        sources(shapes)['coco'], [{'type': 'RandomShortestSize', 'min_size': 100, 'max_size': 200}], masks=True
    )
    assert numbers['AP'] == pytest.approx(100, abs=0.01)
    # Squares fill their boxes, triangles half of them.
    assert 0 < numbers['mask_AP75'] < 100 and numbers['mask_AP50'] > 60


def test_annotations_without_area_crowd_or_usable_ids(shapes, tmp_path):
    """pycocotools needs all three, and takes an object of id 0 for none."""
    content = json.loads((shapes / 'coco' / 'train.json').read_text())
    content['annotations'] = [
        {key: a[key] for key in ('image_id', 'category_id', 'bbox')} | {'id': i}
        for i, a in enumerate(content['annotations'])
    ]
    (tmp_path / 'bare.json').write_text(json.dumps(content))
    source = {**sources(shapes)['coco'], 'ann_file': str(tmp_path / 'bare.json')}
    assert evaluate(source)['AP'] == pytest.approx(100, abs=0.01)
    with pytest.raises(DataError, match=r'no segmentation to evaluate masks on; set model\.masks=False'):
        evaluate(source, masks=True)


@pytest.mark.parametrize('kind', ['coco', 'voc'])
def test_data_without_objects(shapes, tmp_path, kind):
    shutil.copytree(shapes, tmp_path / 'copy')
    path = tmp_path / 'copy' / 'coco' / 'train.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'annotations': []}))
    for file in (tmp_path / 'copy').rglob('*.xml'):
        file.write_text(re.sub('<object>.*</object>', '', file.read_text()))
    with pytest.raises(DataError, match='no object in the data to evaluate on'):
        evaluate(sources(tmp_path / 'copy')[kind])


def test_nothing_found_is_zero_and_not_an_error(shapes):
    class Silent(Oracle):
        def predict(self, img):
            return [
                {'boxes': torch.zeros(0, 4), 'labels': torch.zeros(0, dtype=torch.int64), 'scores': torch.zeros(0)}
                for _ in img
            ]

    for source in sources(shapes).values():
        loader = build_loader(
            {
                'batch_size': 2,
                'dataset': {
                    'type': 'DetectionDataset',
                    'data_source': source,
                    'pipeline': [{'type': 'ToImage'}, {'type': 'ToDtype', 'dtype': 'float32', 'scale': True}],
                },
                'sampler': {'type': 'EpochSampler', 'shuffle': False},
            },
            seed=0,
            device=torch.device('cpu'),
        )
        assert evaluate_detector(Silent(loader.dataset, []), loader)['AP50'] == 0


def test_numbers_are_those_of_pycocotools(shapes, tmp_path):
    """Its own reading of the file, ids with gaps, crowds as run lengths; nothing of ours between."""
    from pycocotools import mask as coder
    from pycocotools.coco import COCO as Annotations
    from pycocotools.cocoeval import COCOeval

    content = json.loads((shapes / 'coco' / 'train.json').read_text())
    for image in content['images']:
        image['id'] = 7 * image['id']
    for annotation in content['annotations']:
        image = content['images'][annotation['image_id'] - 1]
        annotation.update(id=annotation['id'] + 50, image_id=image['id'], iscrowd=int(annotation['id'] % 4 == 0))
        if annotation['iscrowd']:
            runs = coder.merge(coder.frPyObjects(annotation['segmentation'], image['height'], image['width']))
            annotation['segmentation'] = {'size': runs['size'], 'counts': runs['counts'].decode()}
    path = tmp_path / 'crowds.json'
    path.write_text(json.dumps(content))
    source = COCO(str(shapes / 'coco' / 'train'), str(path), masks=True)
    rng = np.random.default_rng(0)
    detections, rows = [], {'bbox': [], 'segm': []}
    for index, number in enumerate(source.image_ids.tolist()):
        objects = source.objects(index)
        boxes = (objects.boxes + rng.normal(0, 2, objects.boxes.shape)).clip(0).astype(np.float32)
        runs = [coder.encode(np.asfortranarray(mask)) for mask in source.masks(index, objects)]
        detections.append(Detections(boxes, objects.labels, rng.random(len(boxes)).astype(np.float32), runs))
        for box, label, score, run in zip(
            boxes.tolist(), objects.labels, detections[-1].scores.tolist(), runs, strict=True
        ):
            row = {'image_id': number, 'category_id': 10 * (int(label) + 1), 'score': score}
            rows['bbox'].append({**row, 'bbox': [box[0], box[1], box[2] - box[0], box[3] - box[1]]})
            rows['segm'].append({**row, 'segmentation': run})
    expected = {}
    for kind, prefix in (('bbox', ''), ('segm', 'mask_')):
        annotations = Annotations(str(path))
        evaluation = COCOeval(annotations, annotations.loadRes(rows[kind]), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        expected |= {
            f'{prefix}{name}': 100 * v
            for name, v in zip(('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl'), evaluation.stats, strict=False)
            if v >= 0
        }
    assert coco_ap(source, detections, masks=True) == pytest.approx(expected, abs=1e-9)
    assert expected['AP'] < 99 and expected['mask_AP'] > 99


@pytest.mark.parametrize(
    ('pipeline', 'moved'),
    [
        ([{'type': 'RandomHorizontalFlip', 'p': 1.0}], True),
        ([{'type': 'CenterCrop', 'size': 40}], True),
        ([{'type': 'Resize', 'size': [77, 133]}], False),
    ],
)
def test_a_pipeline_may_change_the_size_alone(shapes, pipeline, moved):
    """Boxes of a cropped or flipped image cannot be brought back; that gave an average precision, of nothing."""
    for source in sources(shapes).values():
        if moved:
            with pytest.raises(
                ConfigError, match=r'moves the objects of .*train_\d+\.jpg: it may change the size of an image'
            ):
                evaluate(source, pipeline)
        else:
            assert evaluate(source, pipeline)['AP'] == pytest.approx(100, abs=0.01)
