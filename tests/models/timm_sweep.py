"""SparK with one network of each family of timm: does it train on visible blocks as on masked maps, or is it refused, and why.

`python -m tests.models.timm_sweep [NAME ...]` measures and writes `timm_sweep.json`, from which the tests read what to expect.
"""

import copy
import gc
import json
import sys
import time
from pathlib import Path

import timm
import torch

from selfsup.errors import SelfSupError
from selfsup.models.backbones import TIMMBackbone
from selfsup.models.visible import probe_maps
from selfsup.registry import MODELS

from .visible_cases import ragged, randomised

RESULTS = Path(__file__).with_suffix('.json')
# The largest difference of loss and gradients; in double precision rounding makes 1e-16, which norms over a dozen positions blow up.
SAME = 1e-8


def backbone(name):
    """The network with the stages whose strides double up to the last one."""
    model = timm.create_model(name)
    levels = len(getattr(model, 'feature_info', ())) if hasattr(model, 'forward_intermediates') else 1
    if levels <= 1:
        return TIMMBackbone(name)
    strides = [found.stride for found in probe_maps(TIMMBackbone(name, out_indices=tuple(range(levels))))]
    kept = [len(strides) - 1]
    for level in reversed(range(levels - 1)):
        if strides[level] * 2 == strides[kept[0]] and strides[level] > 1:
            kept.insert(0, level)
    return TIMMBackbone(name, out_indices=tuple(kept))


def build(name):
    """SparK with that network, blocks of its stride or a little more, and a small decoder."""
    torch.manual_seed(0)
    net = backbone(name)
    maps = probe_maps(net)
    stride = maps[-1].stride
    block = stride * -(-16 // stride)
    return MODELS.build(
        {
            'type': 'SparK',
            'backbone': net,
            'neck': {'type': 'SparKNeck', 'levels': len(maps)},
            'block': block,
            'decoder': {'type': 'LightDecoder', 'width': 64},
            'head': {'type': 'MaskedPixelHead', 'patch_size': block},
        }
    )


def losses(model, path):
    """Loss and gradients of one step on two images of 2 x 3 blocks."""
    model = copy.deepcopy(model)
    model.path, block = path, model.masking.block
    torch.manual_seed(1)
    img = torch.randn(2, 3, 2 * block, 3 * block, dtype=torch.float64)
    loss = model.loss(img, ragged(2, 2, 3)).losses['loss']
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in model.backbone.named_parameters() if p.grad is not None}


def difference(model):
    """The largest relative difference between the paths, of the loss and of each gradient (or 1e-3 of the largest one)."""
    model = randomised(model)
    (loss, grads), (other, reference) = losses(model, 'visible'), losses(model, 'masked')
    assert grads.keys() == reference.keys()
    assert float(max(g.abs().max() for g in reference.values())) > 0
    floor = 1e-3 * max(float(g.abs().max()) for g in reference.values())
    apart = [float((grads[name] - g).abs().max()) / max(float(g.abs().max()), floor) for name, g in reference.items()]
    return max(float((loss - other).abs() / other.abs()), *apart)


def sweep(name):
    """{'result': 'same', 'difference': ...} or {'result': 'refused', 'reason': ...}; anything else raises."""
    try:
        model = build(name)
    except SelfSupError as error:
        return {'result': 'refused', 'reason': str(error)}
    return {'result': 'same', 'difference': difference(model)}


def main(names):
    """Measure these, or all, and write the results down."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in names or list(known):
        start = time.time()
        try:
            known[name] = sweep(name)
        except Exception as error:
            known[name] = {'result': 'error', 'reason': f'{type(error).__name__}: {error}'}
        print(f'{name}: {known[name]} ({time.time() - start:.1f} s)', flush=True)
        RESULTS.write_text(json.dumps(dict(sorted(known.items())), indent=1) + '\n')
        gc.collect()


if __name__ == '__main__':
    main(sys.argv[1:])
