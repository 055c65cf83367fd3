"""Small configs and batches for every registered algorithm."""

import torch

TINY_RESNET = {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 8, 'out_indices': (4,)}


def projection(kind, channels, out=16, **kwargs):
    """Config of a neck with a hidden layer."""
    return {'type': kind, 'in_channels': channels, 'hid_channels': 24, 'out_channels': out, **kwargs}


def tiny_config(name, backbone, channels):
    """Config of the algorithm `name` on `backbone`, whose last map has `channels` channels."""
    contrast = {'type': 'ContrastiveHead', 'temperature': 0.2}
    predictor = projection('NonLinearNeckV2', 16, with_avg_pool=False)
    configs = {
        'MOCO': {'neck': projection('NonLinearNeckV1', channels), 'head': contrast, 'queue_len': 10, 'feat_dim': 16},
        'SimCLR': {'neck': projection('NonLinearNeckSimCLR', channels, sync_bn=False), 'head': contrast},
        'BYOL': {'neck': projection('NonLinearNeckV2', channels), 'head': {'type': 'LatentPredictHead', 'predictor': predictor}},
        'Classification': {'head': {'type': 'ClsHead', 'with_avg_pool': True, 'in_channels': channels, 'num_classes': 5}},
    }
    configs['MoCo'] = configs['MOCO']
    return {'type': name, 'backbone': backbone, **configs[name]}


def tiny_batch(model, size=3, pixels=32):
    """Random images (and labels) as the model's dataset gives them."""
    if model.dataset == 'ClassificationDataset':
        return {'img': torch.randn(size, 3, pixels, pixels), 'gt_label': torch.randint(5, (size,))}
    return {'img': torch.randn(size, 2, 3, pixels, pixels)}
