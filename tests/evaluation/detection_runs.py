"""A detector that says what is there, and its average precision on the miniature data set."""

import torch
from torch import nn

from selfsup.datasets.loaders import build_loader
from selfsup.evaluation.detection.average_precision import (
    evaluate_detector,
)

CLASSES = ['disc', 'square', 'triangle']


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
