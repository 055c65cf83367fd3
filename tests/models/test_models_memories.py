"""Memory banks and the methods that keep them, against the reference implementation's numbers (tests/golden/heads.pt)."""

from pathlib import Path

import pytest
import torch
from torch import nn

from selfsup.errors import ConfigError, ShapeError
from selfsup.models.algorithms import NPID, ODC, DeepCluster
from selfsup.models.heads import ClsHead, ContrastiveHead
from selfsup.models.layers.functional import class_weights, last_occurrence
from selfsup.models.memories import ODCMemory, SimpleMemory
from selfsup.models.memories.two_means import two_means
from selfsup.registry import MEMORIES

GOLDEN = torch.load(Path(__file__).parents[1] / 'golden' / 'heads.pt', weights_only=True)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


class Vectors(nn.Module):
    """Backbone that takes images (B, D, 1, 1) for its maps, with a weight to have something to train."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return (x * self.weight,)


class Flat(nn.Module):
    def forward(self, maps):
        return maps[-1].flatten(1)


def test_registered_names():
    assert MEMORIES.names() == ['ODCMemory', 'SimpleMemory']


# ---- NPID ----


def negatives(case):
    """Rows of negatives after the redraws of the reference: hits of the positive are replaced in row-major order until none is left."""
    draws = [d.clone() for d in case['draws']]
    chosen = draws[0].view(len(case['idx']), case['neg_num'])
    for redraw in draws[1:]:
        hits = chosen == case['idx'][:, None]
        assert int(hits.sum()) == len(redraw)
        chosen[hits] = redraw
    return chosen


@pytest.mark.parametrize('case', GOLDEN['npid'], ids=lambda c: f'ensure_neg={c["ensure_neg"]}')
def test_npid(case):
    bank = SimpleMemory(len(case['bank']), 8, momentum=case['momentum'])
    bank.feature_bank.copy_(case['bank'])
    model = NPID(
        Vectors(),
        Flat(),
        ContrastiveHead(case['temperature']),
        bank,
        neg_num=case['neg_num'],
        ensure_neg=case['ensure_neg'],
    )
    model.draw_negatives = lambda idx: negatives(case)
    img = case['feature'][..., None, None].clone().requires_grad_()
    step = model({'img': img, 'idx': case['idx']})
    step.total.backward()
    close(step.total, case['loss'])
    assert (img.grad[..., 0, 0] - case['grad_feature']).abs().max() <= 1e-3 * case['grad_feature'].abs().max()
    assert torch.equal(bank.feature_bank, case['bank'])  # loss() is pure
    model.after_update([step.carry], progress=0.0)
    close(bank.feature_bank, case['bank_after'])


@pytest.mark.parametrize('ensure_neg', [False, True])
def test_npid_negatives_are_uniform(ensure_neg):
    model = NPID(Vectors(), Flat(), ContrastiveHead(), SimpleMemory(6, 4), neg_num=6000, ensure_neg=ensure_neg)
    idx = torch.tensor([0, 3, 5])
    torch.manual_seed(0)
    counts = torch.stack([torch.bincount(row, minlength=6) for row in model.draw_negatives(idx)]).double()
    expected = torch.full((3, 6), 1000.0)
    if ensure_neg:
        expected = torch.full((3, 6), 1200.0).scatter_(1, idx[:, None], 0.0)
        assert counts.gather(1, idx[:, None]).sum() == 0
    assert (counts - expected).abs().max() < 5 * 1200**0.5


def test_npid_errors():
    def build(length=6, dim=4, **kwargs):
        return NPID(Vectors(), Flat(), ContrastiveHead(), SimpleMemory(length, dim), neg_num=3, **kwargs)

    img = torch.randn(2, 4, 1, 1)
    with pytest.raises(ShapeError, match=r'length=6, but the data set holds an image number 6: set length to'):
        build()({'img': img, 'idx': torch.tensor([0, 6])})
    with pytest.raises(ShapeError, match='feat_dim=5, but its neck gives 4 numbers'):
        build(dim=5)({'img': img, 'idx': torch.tensor([0, 1])})
    with pytest.raises(ConfigError, match='there must be a negative to draw'):
        build(length=1, ensure_neg=True)
    with pytest.raises(ConfigError, match=r'NPID reads img, idx; the dataset gives img: use NPIDDataset'):
        build()({'img': img})


def test_simple_memory():
    case = GOLDEN['simple_memory']
    memory = SimpleMemory(*case['bank'].shape, momentum=case['momentum'])
    memory.feature_bank.copy_(case['bank'])
    memory.update(case['ind'], case['feature'])
    close(memory.feature_bank, case['bank_after'])


def test_simple_memory_starts_with_unit_vectors_and_weighs_the_new_feature():
    memory = SimpleMemory(5, 3, momentum=0.25)
    torch.testing.assert_close(memory.feature_bank.norm(dim=1), torch.ones(5))
    old, new = memory.feature_bank[2].clone(), torch.tensor([0.0, 0.0, 1.0])
    memory.update(torch.tensor([2]), new[None])
    close(memory.feature_bank[2], nn.functional.normalize(0.75 * old + 0.25 * new, dim=0))
    with pytest.raises(ConfigError, match='momentum=2: must be a number in \\[0, 1\\]'):
        SimpleMemory(5, 3, momentum=2)


def test_an_image_that_occurs_twice_takes_its_last_feature():
    assert last_occurrence(torch.tensor([7, 3, 7, 7, 3, 0])).tolist() == [3, 4, 3, 3, 4, 5]
    one, two = SimpleMemory(5, 3), SimpleMemory(5, 3)
    two.load_state_dict(one.state_dict())
    features = nn.functional.normalize(torch.randn(3, 3), dim=1)
    one.update(torch.tensor([1, 4, 1]), features)
    two.update(torch.tensor([4, 1]), features[1:])
    assert torch.equal(one.feature_bank, two.feature_bank)


# ---- ODC ----


def test_odc_memory():
    case = GOLDEN['odc_memory']
    memory = ODCMemory(**case['config'])
    assert not memory.initialized and int(memory.label_bank.max()) == -1
    memory.init_memory(case['init_feature'], case['init_label'])
    assert memory.initialized
    close(memory.feature_bank.local, case['feature_bank0'])
    close(memory.centroids, case['centroids0'])
    assert torch.equal(memory.label_bank, case['label_bank0'])
    changed = memory.update_samples(case['update_ind'], case['update_feature'])
    assert float(changed) == pytest.approx(case['change_ratio'])
    close(memory.feature_bank.local, case['feature_bank1'])
    assert torch.equal(memory.label_bank, case['label_bank1'])
    close(memory.centroids, case['centroids0'])
    memory.update_centroids(case['cinds'])
    close(memory.centroids, case['centroids2'])
    memory.update_centroids()
    close(memory.centroids, case['centroids3'])


def small_clusters_memory():
    case = GOLDEN['odc_small_clusters']
    memory = ODCMemory(**case['config'])
    memory.load_state_dict(
        {
            'feature_bank.rows': case['feature_bank'],
            'label_bank': case['label_bank'],
            'centroids': case['centroids'],
            'initialized': torch.tensor(True),
        }
    )
    return memory, case


def partition(labels):
    """Sets of images, whatever their numbers are."""
    return {frozenset((labels == c).nonzero().flatten().tolist()) for c in labels.unique()}


def test_odc_small_clusters():
    memory, case = small_clusters_memory()
    memory.deal_with_small_clusters()
    assert partition(memory.label_bank) == partition(case['label_bank_after'])
    assert torch.equal(torch.bincount(memory.label_bank, minlength=5).sort()[0], case['hist_after'].sort()[0])
    for ours, theirs in zip(memory.label_bank.tolist(), case['label_bank_after'].tolist(), strict=True):
        close(memory.centroids[ours], case['centroids_after'][theirs])


def test_the_same_small_clusters_always_give_the_same_numbers():
    results = []
    for seed in range(2):
        torch.manual_seed(seed)
        memory, _ = small_clusters_memory()
        memory.deal_with_small_clusters()
        results.append(memory.state_dict())
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])


def test_no_small_clusters_change_nothing():
    case = GOLDEN['odc_memory']
    memory = ODCMemory(**{**case['config'], 'min_cluster': 1})
    memory.init_memory(case['init_feature'], case['init_label'])
    before = {k: v.clone() for k, v in memory.state_dict().items()}
    memory.deal_with_small_clusters()
    assert all(torch.equal(before[k], v) for k, v in memory.state_dict().items())


@pytest.mark.parametrize('features', ['random', 'equal'])
def test_empty_clusters_at_the_start_take_halves_of_the_largest(features):
    torch.manual_seed(0)
    memory = ODCMemory(12, 3, num_classes=4, min_cluster=2)
    table = torch.randn(12, 3) if features == 'random' else torch.ones(12, 3)
    memory.init_memory(table, torch.zeros(12, dtype=torch.long))
    sizes = torch.bincount(memory.label_bank, minlength=4)
    assert int(sizes.min()) >= 1
    for cluster in range(4):
        close(memory.centroids[cluster], memory.feature_bank.local[memory.label_bank == cluster].mean(0))
    for _ in range(5):
        memory.deal_with_small_clusters()
        assert int(torch.bincount(memory.label_bank, minlength=4).min()) >= 1
    if features == 'equal':
        assert sizes.tolist() == [3, 3, 3, 3]


def test_odc_memory_errors():
    with pytest.raises(
        ConfigError,
        match=r'^ODCMemory: 10 clusters \(num_classes\) of 20 or more images \(min_cluster\) need 200 images; '
        r'there are 199 \(length\)',
    ):
        ODCMemory(199, 4, num_classes=10)
    memory = ODCMemory(8, 4, num_classes=2, min_cluster=1)
    with pytest.raises(ShapeError, match=r'length=8 and feat_dim=4; it got features and labels of \(8, 5\) and \(8,\)'):
        memory.init_memory(torch.randn(8, 5), torch.zeros(8, dtype=torch.long))
    with pytest.raises(ShapeError, match=r'length=8 .* \(7,\)'):
        memory.init_memory(None, torch.zeros(7, dtype=torch.long))
    with pytest.raises(ShapeError, match='num_classes=2; the labels go from 0 to 2'):
        memory.init_memory(torch.randn(8, 4), torch.tensor([0, 1, 2, 0, 0, 0, 0, 0]))
    with pytest.raises(RuntimeError, match=r'feature_bank\.rows: \(8, 4\) in the file, \(9, 4\) in the model'):
        ODCMemory(9, 4, num_classes=2, min_cluster=1).load_state_dict(memory.state_dict())
    assert (
        'feature_bank.rows'
        in ODCMemory(9, 4, num_classes=2, min_cluster=1).load_state_dict({}, strict=False).missing_keys
    )


def test_small_clusters_are_logged_when_asked_for(caplog):
    case = GOLDEN['odc_small_clusters']
    memory = ODCMemory(**case['config'], debug=True)
    memory.init_memory(case['feature_bank'], case['label_bank'])
    memory.label_bank.copy_(case['label_bank'])
    with caplog.at_level('INFO', 'selfsup'):
        memory.deal_with_small_clusters()
    assert '2 of 5 clusters have fewer than 4 images' in caplog.text


def test_two_means_finds_two_clouds_and_knows_when_there_is_one_point():
    torch.manual_seed(0)
    x = torch.randn(60, 5)
    x[:20, 2] += 12
    part = two_means(x)
    assert int(part[:20].sum()) in (0, 20) and int(part[20:].sum()) == 40 - 2 * int(part[:20].sum())
    assert two_means(torch.ones(7, 5)) is None


def odc(head=None, **kwargs):
    memory = {'length': 40, 'feat_dim': 6, 'num_classes': 5, 'min_cluster': 4, **kwargs}
    return ODC(Vectors(), Flat(), head or ClsHead(in_channels=6, num_classes=5), ODCMemory(**memory))


def test_odc_reweight():
    case = GOLDEN['odc_reweight']
    model = odc()
    model.set_reweight(case['labels'], case['reweight_pow'])
    close(model.loss_weight, case['weight'])
    model.loss_weight.zero_()
    model.memory_bank.label_bank.copy_(case['labels'])
    model.set_reweight()
    close(model.loss_weight, case['weight'])


def test_deep_cluster_reweight():
    model = DeepCluster(Vectors(), Flat(), ClsHead(in_channels=6, num_classes=3))
    assert torch.equal(model.loss_weight, torch.ones(3))
    model.set_reweight([0, 0, 0, 0, 1, 2, 2, 2, 2])
    close(model.loss_weight, torch.tensor([0.25, 0.5, 0.25]))
    model.set_reweight(torch.tensor([0, 0, 0, 0, 1, 2, 2, 2, 2]), reweight_pow=0)
    close(model.loss_weight, torch.full((3,), 1 / 3))
    assert class_weights(torch.tensor([0, 1]), 3, 0.5, 1e-10).isfinite().all()


@pytest.mark.parametrize('kind', ['deep_cluster', 'odc'])
def test_weights_act_as_in_a_weighted_cross_entropy(kind):
    torch.manual_seed(0)
    head = ClsHead(in_channels=6, num_classes=5)
    img, labels = torch.randn(4, 6, 1, 1), torch.tensor([0, 1, 1, 4])
    if kind == 'odc':
        model, batch = odc(head), {'img': img, 'idx': torch.tensor([5, 6, 7, 8])}
        model.memory_bank.label_bank[5:9] = labels
        model.memory_bank.initialized.fill_(True)
    else:
        model, batch = (
            DeepCluster(Vectors(), Flat(), head),
            {'img': img, 'pseudo_label': labels, 'idx': torch.arange(4)},
        )
    model.loss_weight.copy_(torch.tensor([0.1, 0.2, 0.3, 0.3, 0.1]))
    logits = head(img)['head0']
    torch.testing.assert_close(
        model(batch).total, nn.functional.cross_entropy(logits, labels, weight=model.loss_weight)
    )
    assert torch.equal(model.predict(img)['head0'], logits)
    assert torch.equal(model.embed(img), img.flatten(1))


def test_odc_moves_its_memory_after_the_update_and_logs_the_change():
    model = odc()
    case = GOLDEN['odc_memory']
    model.memory_bank.init_memory(case['init_feature'], case['init_label'])
    batch = {
        'img': case['update_feature'][..., None, None],
        'idx': case['update_ind'],
        'pseudo_label': torch.full((9,), -1),
    }
    before = {k: v.clone() for k, v in model.state_dict().items()}
    step = model(batch)
    assert step.logs['change_ratio'] == 0
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    model.after_update([step.carry], progress=0.0)
    close(model.memory_bank.feature_bank.local, case['feature_bank1'])
    assert torch.equal(model.memory_bank.label_bank, case['label_bank1'])
    assert float(model(batch).logs['change_ratio']) == pytest.approx(case['change_ratio'])


def test_clustering_methods_say_what_is_missing():
    img = torch.randn(2, 6, 1, 1)
    with pytest.raises(
        ConfigError, match=r'memory of ODC is empty: add custom_hooks=.*DeepClusterHook.*init_memory=True'
    ):
        odc()({'img': img, 'idx': torch.tensor([0, 1])})
    with pytest.raises(ConfigError, match='DeepCluster has no pseudo labels: add custom_hooks'):
        DeepCluster(Vectors(), Flat(), ClsHead(in_channels=6, num_classes=5))(
            {'img': img, 'pseudo_label': torch.tensor([-1, -1])}
        )
    with pytest.raises(ConfigError, match='num_classes=4 of the head and 5 of the memory_bank must be equal'):
        odc(ClsHead(in_channels=6, num_classes=4))
    model = odc()
    model.memory_bank.initialized.fill_(True)
    with pytest.raises(ShapeError, match='length=40, but the data set holds an image number 40'):
        model({'img': img, 'idx': torch.tensor([0, 40])})
