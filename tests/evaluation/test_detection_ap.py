"""Average precision: VOC's by hand, COCO's through pycocotools, and the way back to the pixels of the original image."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.detection.miniature import write_miniature
from selfsup.datasets.data_sources import COCO, VOCDetection
from selfsup.datasets.loaders import build_loader
from selfsup.errors import CheckpointError, ConfigError, DataError
from selfsup.evaluation.detection.average_precision import (
    Detections,
    coco_ap,
    detect_and_evaluate,
    evaluate_detector,
    voc_numbers,
)
from selfsup.evaluation.detection.voc_ap import voc_ap

CLASSES = ['disc', 'square', 'triangle']


def truth(*boxes, labels=None, difficult=None):
    number = len(boxes)
    return SimpleNamespace(
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.array(labels or [0] * number),
        difficult=np.array(difficult or [False] * number, dtype=bool),
    )


def found(*rows):
    """Rows of (score, box)."""
    return SimpleNamespace(
        boxes=np.array([box for _, box in rows], dtype=np.float32).reshape(-1, 4),
        labels=np.zeros(len(rows), dtype=np.int64),
        scores=np.array([score for score, _ in rows], dtype=np.float32),
    )


A, B, FAR = (0, 0, 10, 10), (20, 20, 30, 30), (50, 50, 60, 60)


@pytest.mark.parametrize(
    ('rows', 'expected'),
    [
        ([(0.9, A), (0.8, B)], 100),
        ([], 0),
        ([(0.9, A)], 100 * 6 / 11),  # recall 0.5: precision 1 at 0, 0.1, ..., 0.5
        ([(0.9, A), (0.8, A), (0.7, B)], 100 * (6 + 5 * 2 / 3) / 11),  # the second hit of A is wrong
        ([(0.9, FAR), (0.8, A), (0.7, B)], 100 * 2 / 3),  # precision 0, 1/2, 2/3: its maximum to the right
        ([(0.9, (0, 0, 10, 5)), (0.8, B)], 100 * 6 / 11 / 2),  # IoU of exactly 0.5 is not above 0.5
    ],
)
def test_eleven_points_by_hand(rows, expected):
    np.testing.assert_allclose(voc_ap([truth(A, B)], [found(*rows)], 1, [0.5]), [[expected]])


def test_difficult_objects_and_classes_without_objects():
    marked = truth(A, B, difficult=[False, True])
    np.testing.assert_allclose(voc_ap([marked], [found((0.9, B), (0.8, B), (0.7, A))], 1, [0.5]), [[100]])
    values = voc_ap([truth(A)], [found((0.9, A))], 2, [0.5, 0.7])
    assert values.shape == (2, 2) and (values[:, 0] == 100).all() and np.isnan(values[:, 1]).all()


def devkit_ap(truths, detections, label, iou):
    """The challenge's measure in its own pixels, counted from 1 with both ends, one pair of boxes at a time, recall as a fraction."""

    def pixels(box):
        return [float(box[0]) + 1, float(box[1]) + 1, float(box[2]), float(box[3])]

    def area(x1, y1, x2, y2):
        return max(x2 - x1 + 1, 0) * max(y2 - y1 + 1, 0)

    objects = [
        [(pixels(b), bool(d)) for b, k, d in zip(t.boxes, t.labels, t.difficult, strict=True) if k == label]
        for t in truths
    ]
    positives = sum(not difficult for row in objects for _, difficult in row)
    rows = sorted(
        (
            (-float(s), i, n)
            for i, d in enumerate(detections)
            for n, (s, k) in enumerate(zip(d.scores, d.labels, strict=True))
            if k == label
        )
    )
    taken, hits, seen, points = set(), 0, 0, []
    for _, image, number in rows:
        box, best, chosen = pixels(detections[image].boxes[number]), 0.0, None
        for place, (other, _) in enumerate(objects[image]):
            both = area(
                *(max(a, b) for a, b in zip(box[:2], other[:2], strict=True)),
                *(min(a, b) for a, b in zip(box[2:], other[2:], strict=True)),
            )
            share = both / (area(*box) + area(*other) - both)
            if share > best:
                best, chosen = share, place
        if best > iou and objects[image][chosen][1]:
            continue
        seen += 1
        if best > iou and (image, chosen) not in taken:
            hits += 1
            taken.add((image, chosen))
        points.append((hits, hits / seen))
    return 100 * sum(max((p for hits, p in points if 10 * hits >= n * positives), default=0.0) for n in range(11)) / 11


def scene(rng, classes=3):
    """Objects of a few images on whole pixels, as VOC's, and detections around them; equal scores are common."""
    truths, detections = [], []
    for _ in range(6):
        corners = rng.integers(0, 50, (4, 2))
        boxes = np.concatenate([corners, corners + rng.integers(4, 30, (4, 2))], axis=1)
        labels = rng.integers(0, classes, 4)
        truths.append(truth(*boxes, labels=labels.tolist(), difficult=(rng.random(4) < 0.3).tolist()))
        near = np.repeat(boxes, 2, axis=0) + rng.integers(-3, 4, (8, 4)) + [0, 0, 4, 4]
        kinds = np.where(rng.random(8) < 0.8, np.repeat(labels, 2), rng.integers(0, classes, 8))
        detections.append(
            SimpleNamespace(
                boxes=near.astype(np.float32), labels=kinds, scores=rng.integers(1, 9, 8).astype(np.float32) / 8
            )
        )
    return truths, detections


@pytest.mark.parametrize('seed', range(4))
def test_the_measure_equals_that_of_the_challenge_in_its_own_pixels(seed):
    truths, detections = scene(np.random.default_rng(seed))
    ious = [0.5, 0.6, 0.75]
    expected = [[devkit_ap(truths, detections, label, iou) for label in range(3)] for iou in ious]
    np.testing.assert_allclose(voc_ap(truths, detections, 3, ious), expected, atol=1e-9)
    assert np.ptp(expected) > 5


class Oracle(nn.Module):
    """Says what is there, in the pixels of the image that it is shown; `shift` moves every box to the right."""

    num_classes, masks = 3, False

    def __init__(self, dataset, order, shift=0.0, masks=False):
        super().__init__()
        self.dataset, self.order, self.shift, self.masks = dataset, list(order), shift, masks

    def predict(self, img):
        results = []
        for image in img:
            index = self.order.pop(0)
            sample = self.dataset[index]
            assert sample['img'].shape == image.shape
            boxes = sample['gt_boxes'] + self.shift * torch.tensor([1.0, 0, 1, 0])
            result = {'boxes': boxes, 'labels': sample['gt_labels'], 'scores': torch.ones(len(boxes))}
            if self.masks:  # full boxes
                result['masks'] = torch.ones(len(boxes), 1, 28, 28)
            results.append(result)
        return results


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ap') / 'shapes'
    write_miniature(folder, {'train': 5})
    return folder


def evaluate(source, pipeline=(), batch=2, **oracle):
    loader = build_loader(
        {
            'batch_size': batch,
            'prefetch': True,
            'img_norm_cfg': {'mean': [0.5] * 3, 'std': [0.5] * 3},
            'dataset': {'type': 'DetectionDataset', 'data_source': source, 'pipeline': list(pipeline)},
            'sampler': {'type': 'EpochSampler', 'shuffle': False},
        },
        seed=0,
        device=torch.device('cpu'),
    )
    return evaluate_detector(Oracle(loader.dataset, range(len(loader.dataset)), **oracle), loader)


def sources(shapes):
    return {
        'coco': {
            'type': 'COCO',
            'root': str(shapes / 'coco' / 'train'),
            'ann_file': str(shapes / 'coco' / 'train.json'),
        },
        'voc': {'type': 'VOCDetection', 'root': str(shapes / 'voc'), 'splits': ['VOC2007/train'], 'classes': CLASSES},
    }


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
    assert (
        0 < numbers['mask_AP75'] < 100 and numbers['mask_AP50'] > 60
    )  # squares fill their boxes, triangles half of them


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
    assert evaluate({**sources(shapes)['coco'], 'keep_empty': False})['AP'] == pytest.approx(
        100, abs=0.01
    )  # every image has some


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
