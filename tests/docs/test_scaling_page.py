"""docs/scaling.md holds what the formulas and the counts say, and the formulas are of the recipes that are shipped."""

import json
import re

import pytest

from benchmarks.speed.scale_tables import RECIPES, TABLES
from selfsup.config import compile_config, load

from .pages import ROOT

PAGE = (ROOT / 'docs' / 'scaling.md').read_text()
COUNTED = json.loads((ROOT / 'benchmarks' / 'results' / 'speed' / 'traffic.json').read_text())['worlds']
CONFIGS = {
    'MoCo v1, ResNet-50': 'moco/r50_v1',
    'MoCo v2, ResNet-50': 'moco/r50_v2',
    'SimCLR, ResNet-50': 'simclr/r50_bs256_ep200',
    'BYOL, ResNet-50': 'byol/r50_bs256_ep200',
    'SwAV with a queue, ResNet-50': 'swav/r50_bs256_ep200',
    'DINO, ResNet-50': 'dino/r50_bs512_ep100',
    'LeJEPA, ResNet-50': 'lejepa/r50_bs512_ep100',
    'NPID, ResNet-50': 'npid/r50',
    'ODC, ResNet-50': 'odc/r50_v1',
    'DeepCluster, ResNet-50': 'deepcluster/r50',
    'Relative-Loc, ResNet-50': 'relative_loc/r50',
    'Rotation, ResNet-50': 'rotation_pred/r50',
    'SparK, ResNet-50': 'spark/r50',
    'FCMAE, ConvNeXt V2-L': 'fcmae/large',
    'FCMAE, ConvNeXt V2-H': 'fcmae/huge',
}


@pytest.mark.parametrize('name', TABLES)
def test_a_table_is_the_printed_one(name):
    found = re.search(rf'<!-- {name} -->\n(.*?)\n<!-- end of {name} -->', PAGE, re.DOTALL)
    assert found and found[1] == TABLES[name]()


@pytest.mark.parametrize('name', CONFIGS)
def test_a_recipe_is_that_of_its_config(name):
    compiled, sizes = compile_config(load(str(ROOT / 'configs' / 'selfsup' / f'{CONFIGS[name]}.py'))), RECIPES[name]
    model, bank = compiled['model'], compiled['model'].get('memory_bank', {})
    assert sizes.method == model['type'] and sizes.optimizer == compiled['optim_wrapper']['optimizer']['type']
    assert sizes.batch == compiled['train_dataloader']['batch_size']
    assert sizes.images in (0, bank.get('length', sizes.images))
    if model['type'] == 'SwAV':
        assert (sizes.entries, sizes.queue) == (model['num_prototypes'], model['queue_len'])
    else:
        assert sizes.entries == model.get('queue_len', bank.get('num_classes', sizes.entries))
    assert sizes.negatives == model.get('neg_num', 0)
    assert model.get('feat_dim', bank.get('feat_dim', sizes.dim)) == sizes.dim


def test_every_payload_was_counted_as_the_formulas_say():
    assert set(COUNTED) == {'2', '4'}
    for found in COUNTED.values():
        assert all(one['counted'] == one['formula'] for one in found['payload'].values())
        wire = {**found['wire']['steps'], **found['wire']['collectives of 4 MiB']}
        assert all(1 <= one['counted'] / one['ring'] < 1.12 for one in wire.values())
