"""Small configs and batches for every registered algorithm."""

import torch

from selfsup.registry import MODELS

TINY_RESNET = {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 8, 'out_indices': (4,)}
IMAGES, CLUSTERS = 12, 4  # of the data set that memory banks are made for


def projection(kind, channels, out=16, **kwargs):
    """Config of a neck with a hidden layer."""
    return {'type': kind, 'in_channels': channels, 'hid_channels': 24, 'out_channels': out, **kwargs}


def classifier(channels, num_classes, with_avg_pool=False):
    """Config of a linear classifier."""
    return {'type': 'ClsHead', 'with_avg_pool': with_avg_pool, 'in_channels': channels, 'num_classes': num_classes}


def tiny_config(name, backbone, channels):
    """Config of the algorithm `name` on `backbone`, whose last map has `channels` channels."""
    contrast = {'type': 'ContrastiveHead', 'temperature': 0.2}
    predictor = projection('NonLinearNeckV2', 16, with_avg_pool=False)
    pixels = {'type': 'MaskedPixelHead', 'patch_size': 32}
    configs = {
        'MOCO': {'neck': projection('NonLinearNeckV1', channels), 'head': contrast, 'queue_len': 10, 'feat_dim': 16},
        'SimCLR': {'neck': projection('NonLinearNeckSimCLR', channels, sync_bn=False), 'head': contrast},
        'BYOL': {
            'neck': projection('NonLinearNeckV2', channels),
            'head': {'type': 'LatentPredictHead', 'predictor': predictor},
        },
        'SimSiam': {
            'neck': projection('MLPNeck', channels, num_layers=3, last_norm='BN-', last_bias=False),
            'predictor': projection('MLPNeck', 16, with_avg_pool=False),
        },
        'BarlowTwins': {'neck': projection('MLPNeck', channels, last_bias=False)},
        'VICReg': {'neck': projection('MLPNeck', channels, bias=True, last_bias=False)},
        'DINO': {
            'neck': {'type': 'DINONeck', 'in_channels': channels, 'hid_channels': 24, 'out_channels': 12, 'norm': 'BN'},
            'warmup_teacher_temp_epochs': 2,
            'teacher_temp': 0.07,
        },
        'LeJEPA': {'neck': projection('MLPNeck', channels, bias=True), 'num_slices': 8},
        'SwAV': {
            'neck': projection('MLPNeck', channels, bias=True),
            'num_prototypes': 7,
            'feat_dim': 16,
            'queue_len': 14,
            'queue_start': 0,
        },
        'Classification': {'head': classifier(channels, 5, with_avg_pool=True)},
        'RotationPred': {'head': classifier(channels, 4, with_avg_pool=True)},
        'RelativeLoc': {
            'neck': {'type': 'RelativeLocNeck', 'in_channels': channels, 'out_channels': 24},
            'head': classifier(24, 8),
        },
        'NPID': {
            'neck': {'type': 'LinearNeck', 'in_channels': channels, 'out_channels': 16},
            'head': contrast,
            'neg_num': 7,
            'memory_bank': {'type': 'SimpleMemory', 'length': IMAGES, 'feat_dim': 16},
        },
        'DeepCluster': {'neck': {'type': 'AvgPoolNeck'}, 'head': classifier(channels, CLUSTERS)},
        'ODC': {
            'neck': projection('NonLinearNeckV0', channels),
            'head': classifier(16, CLUSTERS),
            'memory_bank': {
                'type': 'ODCMemory',
                'length': IMAGES,
                'feat_dim': 16,
                'num_classes': CLUSTERS,
                'min_cluster': 2,
            },
        },
        'DenseCL': {
            'neck': projection('DenseCLNeck', channels),
            'head': contrast,
            'queue_len': 10,
            'feat_dim': 16,
        },
        'MoCoV3': {
            'neck': projection('MLPNeck', channels),
            'predictor': projection('MLPNeck', 16, with_avg_pool=False),
        },
        'NNCLR': {
            'neck': projection('MLPNeck', channels),
            'predictor': projection('MLPNeck', 16, with_avg_pool=False),
            'queue_len': 10,
            'feat_dim': 16,
        },
        'Detection': {
            'neck': {'type': 'FPN', 'in_channels': (channels,), 'out_channels': 16},
            'num_classes': 3,
            'masks': True,
            'box_channels': 24,
            'anchor_sizes': (8, 16),
        },
        'SparK': {
            'neck': {'type': 'SparKNeck', 'levels': 1},
            'decoder': {'type': 'LightDecoder', 'width': 32},
            'head': pixels,
        },
        'FCMAE': {'decoder': {'type': 'ConvNeXtV2Decoder', 'width': 16}, 'head': pixels},
    }
    configs['MoCo'] = configs['MOCO']
    return {'type': name, 'backbone': backbone, **configs[name]}


def tiny_model(name, backbone, channels, **changes):
    """The algorithm `name`, ready to train: a memory that needs a clustering has one."""
    model = MODELS.build({**tiny_config(name, backbone, channels), **changes})
    if name == 'ODC':
        model.memory_bank.init_memory(torch.randn(IMAGES, 16).relu(), torch.arange(IMAGES) % CLUSTERS)
    return model


def tiny_batch(model, size=3, pixels=32):
    """Random images (and labels) as the model's dataset gives them."""
    if model.dataset == 'ClassificationDataset':
        return {'img': torch.randn(size, 3, pixels, pixels), 'gt_label': torch.randint(5, (size,))}
    if model.dataset == 'RotationPredDataset':
        return {'img': torch.randn(size, 4, 3, pixels, pixels), 'rot_label': torch.arange(4).repeat(size, 1)}
    if model.dataset == 'RelativeLocDataset':
        return {'img': torch.randn(size, 8, 6, pixels, pixels), 'patch_label': torch.arange(8).repeat(size, 1)}
    if model.dataset == 'ExtractDataset':  # four blocks of 32 pixels
        return {'img': torch.randn(size, 3, 64, 64)}
    if model.dataset == 'DetectionDataset':  # one object in each, the last image smaller; masks fill their boxes
        sizes = [(pixels, pixels)] * (size - 1) + [(pixels, pixels - 8)]
        boxes = [torch.tensor([[2.0, 3.0, 15.0, 20.0]]) for _ in sizes]
        masks = [torch.zeros(1, *shape, dtype=torch.uint8) for shape in sizes]
        for found in masks:
            found[:, 3:20, 2:15] = 1
        return {
            'img': [torch.randn(3, *shape) for shape in sizes],
            'gt_boxes': boxes,
            'gt_masks': masks,
            'gt_labels': [torch.randint(3, (1,)) for _ in sizes],
        }
    if model.dataset == 'MultiViewDataset':  # 32 and more: see `patches of 32 pixels` in tests/resume/test_matrix.py
        return {'img': [torch.randn(size, 2, 3, pixels + 16, pixels + 16), torch.randn(size, 3, 3, pixels, pixels)]}
    if model.dataset in ('NPIDDataset', 'DeepClusterDataset'):
        labels = {'pseudo_label': torch.randint(CLUSTERS, (size,))} if model.dataset == 'DeepClusterDataset' else {}
        return {'img': torch.randn(size, 3, pixels, pixels), **labels, 'idx': torch.randperm(IMAGES)[:size]}
    return {'img': torch.randn(size, 2, 3, pixels, pixels)}
