"""Sources of boxes: what they read, what they refuse, and what reaches a batch."""

import json
import re
import shutil

import numpy as np
import pytest
import torch

from benchmarks.detection.miniature import write_miniature
from selfsup.datasets import ClassificationDataset, ConcatDataset, DetectionDataset, RepeatDataset
from selfsup.datasets.data_sources import COCO, VOCDetection
from selfsup.datasets.loaders import build_loader
from selfsup.errors import ConfigError, DataError, SelfSupWarning

NAMES = ['disc', 'square', 'triangle']
NORM = {'mean': [0.5] * 3, 'std': [0.25] * 3}


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data') / 'shapes'
    write_miniature(folder, {'train': 6})
    return folder


def coco(folder, **more):
    return COCO(str(folder / 'coco' / 'train'), str(folder / 'coco' / 'train.json'), **more)


def changed(shapes, tmp_path, change):
    """A copy of the COCO part whose annotations went through `change`."""
    shutil.copytree(shapes, tmp_path / 'copy')
    path = tmp_path / 'copy' / 'coco' / 'train.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return tmp_path / 'copy'


def test_both_formats_hold_the_same_objects(shapes):
    one = coco(shapes, masks=True)
    two = VOCDetection(str(shapes / 'voc'), ('VOC2007/train',), classes=NAMES)
    assert one.classes == two.classes == NAMES and len(one) == len(two) == 6
    for index in range(6):
        image, a = one.get_sample(index)
        _, b = two.get_sample(index)
        np.testing.assert_array_equal(a.boxes, b.boxes)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert tuple(one.sizes[index]) == tuple(two.sizes[index]) == image.size[::-1]
        masks = one.masks(index, a)
        assert masks.shape == (len(a), *image.size[::-1])
        for mask, box in zip(masks, a.boxes, strict=True):  # a mask fills its box to the edges
            rows, columns = np.nonzero(mask)
            found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(found, box, atol=1.5)


def test_a_dataset_moves_boxes_and_masks_with_the_image(shapes):
    torch.manual_seed(0)
    steps = [
        {'type': 'RandomShortestSize', 'min_size': (120,), 'max_size': 400},
        {'type': 'RandomHorizontalFlip', 'p': 1.0},
    ]
    plain = DetectionDataset(coco(shapes, masks=True), [], prefetch=True, masks=True)[0]
    moved = DetectionDataset(coco(shapes, masks=True), steps, prefetch=True, masks=True)[0]
    assert plain['img'].dtype == torch.uint8 and min(moved['img'].shape[1:]) == 120
    scale = torch.tensor([moved['img'].shape[2] / plain['img'].shape[2], moved['img'].shape[1] / plain['img'].shape[1]])
    x1, y1, x2, y2 = (plain['gt_boxes'] * scale.repeat(2)).unbind(1)
    width = moved['img'].shape[2]
    torch.testing.assert_close(moved['gt_boxes'], torch.stack([width - x2, y1, width - x1, y2], 1), atol=1e-3, rtol=0)
    assert type(moved['img']) is type(moved['gt_boxes']) is type(moved['gt_masks']) is torch.Tensor
    for mask, box in zip(moved['gt_masks'], moved['gt_boxes'], strict=True):
        columns = mask.any(dim=0).nonzero()
        assert abs(columns.min() - box[0]) < 3 and abs(columns.max() + 1 - box[2]) < 3


def test_float_pipelines_and_objects_that_a_crop_removes(shapes):
    ending = [
        {'type': 'ToImage'},
        {'type': 'ToDtype', 'dtype': 'float32', 'scale': True},
        {'type': 'Normalize', **NORM},
    ]
    sample = DetectionDataset(coco(shapes), ending)[0]
    bytes_ = DetectionDataset(coco(shapes), [], prefetch=True)[0]['img']
    torch.testing.assert_close(sample['img'], (bytes_ / 255 - 0.5) / 0.25)
    torch.manual_seed(1)
    cropped = DetectionDataset(coco(shapes), [{'type': 'RandomCrop', 'size': 12}], prefetch=True)
    samples = [cropped[i] for i in range(6)]
    assert min(len(one['gt_boxes']) for one in samples) == 0 < max(len(one['gt_boxes']) for one in samples)
    assert all(len(one['gt_labels']) == len(one['gt_boxes']) for one in samples)


@pytest.mark.parametrize('workers', [0, 1])
def test_batches_are_lists_and_wrappers_keep_them_so(shapes, workers):
    whole = DetectionDataset(coco(shapes, masks=True), [], prefetch=True, masks=True)
    for dataset in (whole, RepeatDataset(whole, 2), ConcatDataset([whole, whole])):
        loader = build_loader(
            {
                'batch_size': 3,
                'dataset': dataset,
                'num_workers': workers,
                'prefetch': True,
                'img_norm_cfg': NORM,
                'sampler': {'type': 'EpochSampler', 'shuffle': False},
            },
            seed=0,
            device=torch.device('cpu'),
        )
        batch = next(iter(loader))
        loader.close()
        assert all(
            isinstance(batch[key], list) and len(batch[key]) == 3
            for key in ('img', 'gt_boxes', 'gt_labels', 'gt_masks')
        )
        for index in range(3):
            torch.testing.assert_close(batch['img'][index], (whole[index]['img'] / 255 - 0.5) / 0.25)
            torch.testing.assert_close(batch['gt_boxes'][index], whole[index]['gt_boxes'])


def test_images_without_objects_and_crowds(shapes, tmp_path):
    def change(content):
        for annotation in content['annotations']:
            annotation['iscrowd'] = int(annotation['image_id'] == 1)
            if annotation['image_id'] == 2:
                annotation['image_id'] = 3

    folder = changed(shapes, tmp_path, change)
    assert len(coco(folder)) == 6 and len(coco(folder).objects(0)) == len(coco(folder).objects(1)) == 0
    kept = coco(folder, keep_empty=False)
    assert kept.image_ids.tolist() == [3, 4, 5, 6]
    sample = DetectionDataset(coco(folder, masks=True), [], prefetch=True, masks=True)[0]
    assert sample['gt_boxes'].shape == (0, 4) and sample['gt_masks'].shape == (0, *sample['img'].shape[1:])


def _set(section, index, **values):
    return lambda content: content[section][index].update(values)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.update(images=[]), "has no images: its list 'images' is empty"),
        (lambda c: c.pop('images'), "lacks the list 'images'"),
        (lambda c: c.update(categories=[]), 'has no categories'),
        (
            _set('annotations', 0, category_id=7),
            r'annotation 1 has category_id=7, which is none of its categories: 10, 20, 30',
        ),
        (lambda c: c['annotations'][0].pop('category_id'), 'annotation 1 has category_id=None'),
        (_set('annotations', 1, image_id=99), 'annotation 2 has image_id=99, which is none of its 6 images'),
        (
            _set('annotations', 0, bbox=[1, 2, 3]),
            r'annotation 1 has bbox=\[1, 2, 3\]; it must be \[x, y, width, height\]',
        ),
        (_set('annotations', 0, bbox=[1, 2, float('nan'), 3]), 'annotation 1 has bbox='),
        (_set('annotations', 0, bbox=[5, 5, 0, 9]), r"annotation 1: box \(5, 5, 5, 14\) has no area.*bad_boxes='clip'"),
        (
            _set('annotations', 0, bbox=[500, 5, 10, 9]),
            r'annotation 1: box \(500, 5, 510, 14\) in an image of \d+ x \d+',
        ),
        (_set('annotations', 0, segmentation=[]), 'annotation 1 has no segmentation; set masks=False'),
        (_set('images', 0, width=None), 'image 1 has no height and width'),
        (lambda c: c['images'][0].pop('file_name'), "entry 0 of 'images' has no 'file_name'"),
        (_set('images', 1, id=1), 'two images have the id 1'),
        (_set('images', 1, id='a'), "entry 1 of 'images' has id='a'; ids are whole numbers"),
        (_set('categories', 0, id=None), "entry 0 of 'categories' has id=None"),
        (_set('images', 0, file_name=None), 'image 1 has file_name=None, which is no path'),
        (_set('images', 0, height=10**30), 'image 1 has no height and width'),
        (lambda c: c['annotations'].__setitem__(1, None), "entry 1 of 'annotations' is None, not an annotation"),
        (_set('annotations', 0, image_id=[1]), r'annotation 1 has image_id=\[1\]'),
        (_set('annotations', 0, iscrowd='0'), "annotation 1 has iscrowd='0'; it must be 0 or 1"),
        (_set('annotations', 0, bbox=[5, 5, 10**400, 9]), 'annotation 1 has bbox='),
        (
            _set('annotations', 0, bbox=[30, 5, 1e-9, 9]),
            'annotation 1: box .*without area|without area: annotation 1: box',
        ),
        (
            _set('annotations', 0, segmentation=[1, 2, 30, 2, 30, 30]),
            r'annotation 1 has segmentation=.*must be a list of polygons',
        ),
        (_set('annotations', 0, segmentation=[[1, 2, 3, 4]]), 'annotation 1: its segmentation has no area'),
        (
            _set('annotations', 0, segmentation={'size': [5, 5], 'counts': [25]}),
            r'annotation 1 has run lengths .* of another image.*\[5, 5\]',
        ),
    ],
)
def test_annotations_that_cannot_be(shapes, tmp_path, change, message):
    folder = changed(shapes, tmp_path, change)
    with pytest.raises(DataError, match=message):
        coco(folder, masks=True)


def test_clipping_keeps_what_is_left_of_a_box(shapes, tmp_path):
    def change(content):
        content['annotations'][0]['bbox'] = [-10, 5, 20, 9]
        content['annotations'][1]['bbox'] = [5, 5, 0, 9]

    before = sum(len(coco(shapes).objects(i)) for i in range(6))
    with pytest.warns(SelfSupWarning, match='cut off at the edges'):
        source = coco(changed(shapes, tmp_path, change), bad_boxes='clip')
    assert source.objects(0).boxes[0].tolist() == [0, 5, 10, 14]
    assert sum(len(source.objects(i)) for i in range(6)) == before - 1
    with pytest.raises(ConfigError, match="bad_boxes='drop'"):
        coco(shapes, bad_boxes='drop')


def test_missing_files(shapes, tmp_path):
    with pytest.raises(DataError, match='does not hold the images'):
        COCO(str(tmp_path), str(shapes / 'coco' / 'train.json'))
    with pytest.raises(DataError, match='cannot be read'):
        COCO(str(shapes / 'coco' / 'train'), str(tmp_path / 'none.json'))
    whole = (shapes / 'coco' / 'train.json').read_text()
    for text in (whole[:2000], '[' * 100000, ''):
        (tmp_path / 'x.json').write_text(text)
        with pytest.raises(DataError, match='is no JSON, or was cut off'):
            COCO(str(shapes / 'coco' / 'train'), str(tmp_path / 'x.json'))
    (tmp_path / 'x.json').write_text(whole, encoding='utf-8-sig')
    assert len(COCO(str(shapes / 'coco' / 'train'), str(tmp_path / 'x.json'))) == 6
    shutil.copytree(shapes, tmp_path / 'copy')
    (tmp_path / 'copy' / 'coco' / 'train' / 'train_0002.jpg').unlink()
    with pytest.raises(DataError, match=r'1 of 6 images cannot be read.*train_0002\.jpg'):
        DetectionDataset(coco(tmp_path / 'copy'), [], prefetch=True)[2]


def test_an_image_of_another_size_than_annotated(shapes, tmp_path):
    folder = changed(shapes, tmp_path, _set('images', 3, width=500))
    with pytest.raises(DataError, match=r'train_0003\.jpg has \d+ x \d+ pixels, its annotation says 500 x'):
        DetectionDataset(coco(folder), [], prefetch=True)[3]


def test_a_segmentation_of_another_kind(shapes, tmp_path):
    folder = changed(shapes, tmp_path, _set('annotations', 0, segmentation=[['x'] * 6]))
    dataset = DetectionDataset(coco(folder, masks=True), [], prefetch=True, masks=True)
    with pytest.raises(DataError, match='neither polygons nor run lengths'):
        dataset[0]


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('<name>', '<name>big ', r"object 1 is a 'big \w+', which is none of the classes.*Did you mean"),
        ('<xmin>', '<xmin>x', 'bndbox/xmin is'),
        ('</xmin>', '</xmin><!--', 'no XML'),
        ('<width>', '<breadth>', 'no XML'),
        ('<xmin>', '<xmin>9', 'boxes outside of their image or without area: train_0000.xml object 1'),
    ],
)
def test_voc_annotations_that_cannot_be(shapes, tmp_path, old, new, message):
    shutil.copytree(shapes / 'voc', tmp_path / 'voc')
    path = tmp_path / 'voc' / 'VOC2007' / 'Annotations' / 'train_0000.xml'
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        VOCDetection(str(tmp_path / 'voc'), ('VOC2007/train',), classes=NAMES)


@pytest.mark.parametrize('number', ['nan', 'inf'])
@pytest.mark.parametrize('tag', ['xmin', 'width'])
def test_voc_numbers_are_finite(shapes, tmp_path, tag, number):
    shutil.copytree(shapes / 'voc', tmp_path / 'voc')
    path = tmp_path / 'voc' / 'VOC2007' / 'Annotations' / 'train_0000.xml'
    path.write_text(re.sub(rf'<{tag}>\d+', f'<{tag}>{number}', path.read_text()))
    with pytest.raises(DataError, match=f"/{tag} is '{number}', not a number"):
        VOCDetection(str(tmp_path / 'voc'), ('VOC2007/train',), classes=NAMES, bad_boxes='clip')


def test_voc_paths_and_datasets_without_boxes(shapes, tmp_path):
    with pytest.raises(DataError, match=r'ImageSets/Main/val\.txt cannot be read'):
        VOCDetection(str(shapes / 'voc'), ('VOC2007/val',), classes=NAMES)
    with pytest.raises(ConfigError, match="splits='VOC2007/train': must be a list of 1 or more strings"):
        VOCDetection(str(shapes / 'voc'), 'VOC2007/train')
    (tmp_path / 'VOC2007/ImageSets/Main').mkdir(parents=True)
    (tmp_path / 'VOC2007/ImageSets/Main/val.txt').write_bytes(b'\xff\xfe')
    with pytest.raises(DataError, match=r'val\.txt is no list of names'):
        VOCDetection(str(tmp_path), ('VOC2007/val',))
    source = VOCDetection(str(shapes / 'voc'), ('VOC2007/train',), classes=NAMES)
    with pytest.raises(ConfigError, match='has boxes only: set masks=False'):
        DetectionDataset(source, [], prefetch=True, masks=True)[0]
    with pytest.raises(ConfigError, match='DetectionDataset needs boxes, but ImageFolder has none'):
        DetectionDataset({'type': 'ImageFolder', 'root': str(shapes / 'coco')}, [], prefetch=True)
    with pytest.raises(ConfigError, match='ClassificationDataset needs labels'):
        ClassificationDataset(source, [], prefetch=True)
