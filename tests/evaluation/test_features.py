"""Features come in the data set's order and leave the model as it was."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as torch_dist
import torch.multiprocessing as mp
from torch import nn

from selfsup.errors import DataError
from selfsup.evaluation.features import collect, evaluating, extract_features

SAMPLES = 11


class FakeLoader:
    """Image i is filled with i; the sampler hands each rank `order`, in batches of `batch`."""

    def __init__(self, order, batch=2, labels=True, plain=False):
        self.dataset = range(SAMPLES)
        self.sampler = [i if plain else (0, i, 0) for i in order]
        self.order, self.batch, self.labels = order, batch, labels

    def __iter__(self):
        for start in range(0, len(self.order), self.batch):
            index = torch.tensor(self.order[start : start + self.batch])
            batch = {'img': index.float().view(-1, 1, 1, 1).expand(-1, 3, 4, 4)}
            yield {**batch, 'gt_label': index * 10} if self.labels else batch


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5))
        self.backbone[0].eval()  # frozen on purpose

    def features(self, img):
        assert not self.training and not torch.is_grad_enabled()
        return torch.cat([self.backbone(img).mean((2, 3)), img.mean((1, 2, 3))[:, None]], 1).bfloat16()


def _expected(features):
    torch.testing.assert_close(features[:, 3], torch.arange(float(SAMPLES)))


@pytest.mark.parametrize('plain', [False, True], ids=['triples', 'indices'])
@pytest.mark.parametrize(
    'order',
    [list(range(SAMPLES)), [3, 0, 1, 2, 10, 9, 8, 7, 6, 5, 4], [*range(SAMPLES), 0, 1]],
    ids=['straight', 'mixed', 'padded'],
)
def test_order_and_padding(order, plain):
    features, labels = extract_features(Model(), FakeLoader(order, plain=plain))
    assert features.shape == (SAMPLES, 4) and features.dtype == torch.float32
    _expected(features)
    assert labels.tolist() == [10 * i for i in range(SAMPLES)] and labels.dtype == torch.int64


def test_modes_come_back_exactly_also_after_an_error():
    model = Model().train()
    model.backbone[0].eval()
    before = [m.training for m in model.modules()]
    assert extract_features(model, FakeLoader(list(range(SAMPLES)), labels=False))[1] is None
    assert [m.training for m in model.modules()] == before and any(before) and not all(before)
    with pytest.raises(RuntimeError, match='inside'), evaluating(model):
        raise RuntimeError('inside')
    assert [m.training for m in model.modules()] == before and torch.is_grad_enabled()


def test_dropped_samples_are_an_error():
    with pytest.raises(DataError, match='gave 9 of 11 samples'):
        extract_features(Model(), FakeLoader(list(range(9))))


def _worker(rank, file, layout):
    torch_dist.init_process_group('gloo', init_method=f'file://{file}', rank=rank, world_size=2)
    padded = [*range(SAMPLES), 0]
    mine = padded[rank * 6 : (rank + 1) * 6] if layout == 'contiguous' else padded[rank::2]
    features, labels = extract_features(Model(), FakeLoader(mine, batch=4))
    _expected(features)
    assert labels.tolist() == [10 * i for i in range(SAMPLES)]
    alone = collect(
        lambda batch: {'x': batch['gt_label']}, FakeLoader(list(range(SAMPLES)), batch=3 + rank), distributed=False
    )
    assert alone['x'].tolist() == [10 * i for i in range(SAMPLES)]  # no collective: the ranks' batches differ here
    torch_dist.destroy_process_group()


@pytest.mark.dist
@pytest.mark.parametrize('layout', ['contiguous', 'strided'])
def test_two_processes(tmp_path, layout):
    mp.spawn(_worker, args=(tmp_path / 'store', layout), nprocs=2)
