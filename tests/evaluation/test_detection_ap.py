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
from selfsup.datasets.loaders import build_loader
from selfsup.errors import ConfigError, DataError
from selfsup.evaluation.detection import evaluate_detector
from selfsup.evaluation.voc_ap import box_iou, voc_ap

CLASSES = ['disc', 'square', 'triangle']


def truth(*boxes, labels=None, difficult=None):
    number = len(boxes)
    return SimpleNamespace(boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4), labels=np.array(labels or [0] * number),
                           difficult=np.array(difficult or [False] * number, dtype=bool))


def found(*rows):
    """Rows of (score, box)."""
    return SimpleNamespace(boxes=np.array([box for _, box in rows], dtype=np.float32).reshape(-1, 4),
                           labels=np.zeros(len(rows), dtype=np.int64), scores=np.array([score for score, _ in rows], dtype=np.float32))


A, B, FAR = (0, 0, 10, 10), (20, 20, 30, 30), (50, 50, 60, 60)


def test_iou():
    others = np.array([A, (5, 0, 15, 10), B])
    np.testing.assert_allclose(box_iou(np.array(A), others), [1, 1 / 3, 0])


@pytest.mark.parametrize(('rows', 'expected'), [
    ([(0.9, A), (0.8, B)], 100),
    ([], 0),
    ([(0.9, A)], 100 * 6 / 11),  # recall 0.5: precision 1 at 0, 0.1, ..., 0.5
    ([(0.9, A), (0.8, A), (0.7, B)], 100 * (6 + 5 * 2 / 3) / 11),  # the second hit of A is wrong
    ([(0.9, FAR), (0.8, A), (0.7, B)], 100 * 2 / 3),  # precision 0, 1/2, 2/3: its maximum to the right
    ([(0.9, (0, 0, 10, 5)), (0.8, B)], 100 * 6 / 11 / 2),  # IoU of exactly 0.5 is not above 0.5
])
def test_eleven_points_by_hand(rows, expected):
    np.testing.assert_allclose(voc_ap([truth(A, B)], [found(*rows)], 1, 0.5), [expected])


def test_difficult_objects_and_classes_without_objects():
    marked = truth(A, B, difficult=[False, True])
    np.testing.assert_allclose(voc_ap([marked], [found((0.9, B), (0.8, B), (0.7, A))], 1, 0.5), [100])
    values = voc_ap([truth(A)], [found((0.9, A))], 2, 0.5)
    assert values[0] == 100 and np.isnan(values[1])


class Oracle(nn.Module):
    """Says what is there, in the pixels of the image that it is shown; `shift` moves every box to the right."""

    num_classes, masks = 3, False

    def __init__(self, dataset, order, shift=0., masks=False):
        super().__init__()
        self.dataset, self.order, self.shift, self.masks = dataset, list(order), shift, masks

    def predict(self, img):
        results = []
        for image in img:
            index = self.order.pop(0)
            sample = self.dataset[index]
            assert sample['img'].shape == image.shape
            boxes = sample['gt_boxes'] + self.shift * torch.tensor([1., 0, 1, 0])
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
    loader = build_loader({'batch_size': batch, 'prefetch': True, 'img_norm_cfg': {'mean': [0.5] * 3, 'std': [0.5] * 3},
                           'dataset': {'type': 'DetectionDataset', 'data_source': source, 'pipeline': list(pipeline)},
                           'sampler': {'type': 'EpochSampler', 'shuffle': False}}, seed=0, device=torch.device('cpu'))
    return evaluate_detector(Oracle(loader.dataset, range(len(loader.dataset)), **oracle), loader)


def sources(shapes):
    return {'coco': {'type': 'COCO', 'root': str(shapes / 'coco' / 'train'), 'ann_file': str(shapes / 'coco' / 'train.json')},
            'voc': {'type': 'VOCDetection', 'root': str(shapes / 'voc'), 'splits': ['VOC2007/train'], 'classes': CLASSES}}


@pytest.mark.parametrize('kind', ['coco', 'voc'])
def test_the_truth_has_100_at_any_size_and_a_shift_costs(shapes, kind):
    source = sources(shapes)[kind]
    larger = [{'type': 'RandomShortestSize', 'min_size': 200, 'max_size': 320}]
    for pipeline in ((), larger):
        numbers = evaluate(source, pipeline)
        assert {name: numbers[name] for name in ('AP', 'AP50', 'AP75')} == pytest.approx({'AP': 100, 'AP50': 100, 'AP75': 100}, abs=0.01)
    moved = evaluate(source, shift=3.)  # IoU about 0.8
    assert moved['AP50'] == pytest.approx(100, abs=0.01) and 20 < moved['AP'] < 90
    assert evaluate(source, shift=1000.)['AP'] == 0


def test_masks_are_pasted_into_the_original_image(shapes):
    numbers = evaluate(sources(shapes)['coco'], [{'type': 'RandomShortestSize', 'min_size': 100, 'max_size': 200}], masks=True)
    assert numbers['AP'] == pytest.approx(100, abs=0.01)
    assert 0 < numbers['mask_AP75'] < 100 and numbers['mask_AP50'] > 60  # squares fill their boxes, triangles half of them


def test_annotations_without_area_crowd_or_usable_ids(shapes, tmp_path):
    """pycocotools needs all three, and takes an object of id 0 for none."""
    content = json.loads((shapes / 'coco' / 'train.json').read_text())
    content['annotations'] = [{key: a[key] for key in ('image_id', 'category_id', 'bbox')} | {'id': i}
                              for i, a in enumerate(content['annotations'])]
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
            return [{'boxes': torch.zeros(0, 4), 'labels': torch.zeros(0, dtype=torch.int64), 'scores': torch.zeros(0)} for _ in img]
    for source in sources(shapes).values():
        loader = build_loader({'batch_size': 2, 'dataset': {'type': 'DetectionDataset', 'data_source': source, 'pipeline': [
            {'type': 'ToImage'}, {'type': 'ToDtype', 'dtype': 'float32', 'scale': True}]}, 'sampler': {
                'type': 'EpochSampler', 'shuffle': False}}, seed=0, device=torch.device('cpu'))
        assert evaluate_detector(Silent(loader.dataset, []), loader)['AP50'] == 0


def test_other_classes_and_unreadable_images(shapes, tmp_path):
    with pytest.raises(ConfigError, match=r'3 classes, but model\.num_classes=4'):
        loader = build_loader({'batch_size': 2, 'dataset': {'type': 'DetectionDataset', 'data_source': sources(shapes)['coco'],
                                                            'pipeline': [{'type': 'ToImage'}]}}, seed=0, device=torch.device('cpu'))
        model = Oracle(loader.dataset, [])
        model.num_classes = 4
        evaluate_detector(model, loader)
    shutil.copytree(shapes, tmp_path / 'copy')
    (tmp_path / 'copy' / 'coco' / 'train' / 'train_0001.jpg').write_bytes(b'no image')
    with pytest.raises(DataError, match=r'1 of 5 images cannot be read.*train_0001\.jpg'):
        evaluate(sources(tmp_path / 'copy')['coco'])
