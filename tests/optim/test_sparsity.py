"""Masks of sparse training against the numbers of SLaK's code, and against slow readings of the papers."""

import json
import math
from pathlib import Path

import pytest
import torch

from selfsup.optim import sparsity

GOLDEN = Path(__file__).parents[1] / 'golden'
KINDS = ('decom', 'nodecom')


@pytest.fixture(scope='module')
def golden():
    return {kind: torch.load(GOLDEN / f'slak_sparsity_{kind}.pt', weights_only=True) for kind in KINDS}


@pytest.fixture(scope='module')
def weights():
    found = {}
    for kind in KINDS:
        content = torch.load(GOLDEN / f'slak_{kind}_model.pt', weights_only=True)
        found[kind] = content.get('model', content)
    return found


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


ERK = [
    (kind, f'erk_{scope}_{density}')
    for kind, scope, density in (
        ('decom', 'default', 0.6),
        ('decom', 'default', 0.1),
        ('decom', 'onlyL', 0.6),
        ('decom', 'onlyL', 0.1),
        ('nodecom', 'default', 0.6),
        ('nodecom', 'default', 0.1),
    )
]


@pytest.mark.parametrize(('kind', 'key'), ERK)
def test_erk_densities_are_those_of_slak(golden, weights, kind, key):
    expected = golden[kind][key]
    shapes = {name: tuple(weights[kind][name].shape) for name in expected['densities']}
    found = sparsity.erk_densities(shapes, expected['density'])
    assert found == pytest.approx(expected['densities'], rel=1e-9)
    assert {name for name, value in found.items() if value == 1} == set(expected['forced_dense'])
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    counts = sparsity.kept_counts(sizes, found, expected['density'])
    # SLaK's code judges by the drawn mask, so a layer just below 0.99 may go either way
    judged = {name for name, value in found.items() if abs(value - sparsity.DENSE) > 0.01}
    assert (set(sizes) - set(counts)) & judged == set(expected['popped_dense_layers']) & judged


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('key', ['truncate_random', 'truncate_gradient'])
def test_pruned_masks_are_those_of_slak(golden, weights, kind, key):
    case = golden[kind][key]
    for name, before in case['masks_before'].items():
        mask = before.bool().clone()
        weight = weights[kind][name] * mask
        assert sparsity.prune_smallest_(mask, weight, case['prune_rate']) == case['n_removed'][name]
        assert torch.equal(mask, case['masks_after_prune'][name].bool()), name
        free, number = int((~mask).sum()), case['n_removed'][name]
        if key == 'truncate_random':
            assert number / free == pytest.approx(case['growth_probability'][name], rel=1e-9)
            grown = mask.clone()
            sparsity.grow_random_(grown, number, generator())
            assert int(grown.sum()) == case['nonzeros_before'][name]
            assert not (mask & ~grown).any()
        elif case['masks_after_growth']:
            sparsity.grow_largest_(mask, number, case['grads'][name])
            assert torch.equal(mask, case['masks_after_growth'][name].bool()), name


def test_prune_rates_are_those_of_slak():
    for case in json.loads((GOLDEN / 'slak_prune_rate_decay.json').read_text()):
        found = [
            sparsity.prune_rate_at(step, case['T_max'], case['prune_rate'], case['eta_min']) for step in case['steps']
        ]
        assert found == pytest.approx(case['values'], rel=1e-9)
    assert sparsity.prune_rate_at(50, 40, 0.5) == 0.005  # past the end of a run that was made longer


def test_erk_solves_its_equations():
    """RigL, section 3: density proportional to the sum of the axes over their product, none above 1, the whole as asked."""
    shapes = {'a': (64, 3, 3, 3), 'b': (64, 1, 51, 5), 'c': (256, 64), 'd': (10, 256)}
    for density in (0.05, 0.3, 0.6, 0.95):
        found = sparsity.erk_densities(shapes, density)
        ratio = {round(found[n] / (sum(s) / math.prod(s)), 9) for n, s in shapes.items() if found[n] < 1}
        assert len(ratio) <= 1
        assert max(found.values()) <= 1
        total = sum(found[n] * math.prod(s) for n, s in shapes.items())
        assert total == pytest.approx(density * sum(math.prod(s) for s in shapes.values()))


def test_snip_keeps_the_largest_scores_of_all_layers():
    scores = {
        'a': torch.tensor([[9.0, 1.0], [8.0, 2.0]]),
        'b': torch.tensor([7.0, 3.0, 4.0]),
        'c': torch.tensor([0.5, 0.25, 0.125]),
    }
    assert sparsity.snip_densities(scores, 0.4) == {'a': 0.5, 'b': 2 / 3, 'c': 0.0}
    # Strictly larger than the 4th.
    assert sparsity.snip_densities(scores, 0.4, share_ties=False) == {'a': 0.5, 'b': 1 / 3, 'c': 0.0}
    assert sparsity.snip_densities(scores, 0.0) == dict.fromkeys(scores, 0.0)


def test_weights_without_a_score_share_what_is_left():
    """Two of ten have a score and six are to be kept: 4 of the 8 others, wherever they are."""
    scores = {'a': torch.tensor([1.0, 2.0, 0.0, 0.0]), 'b': torch.zeros(6)}
    found = sparsity.snip_densities(scores, 0.6)
    assert found == {'a': 3 / 4, 'b': 0.5}
    assert sparsity.snip_densities(scores, 0.6, share_ties=False) == {'a': 0.5, 'b': 0.0}


@pytest.mark.parametrize('density', [0.03, 0.4, 0.6, 0.9])
def test_counts_add_up_whatever_is_dense(density):
    sizes = {f'l{i}': size for i, size in enumerate((10, 100, 37, 1000, 4801, 3))}
    densities = {name: min(1.0, density * (0.5 + i / 3)) for i, name in enumerate(sizes)}
    scale = density * sum(sizes.values()) / sum(densities[n] * sizes[n] for n in sizes)
    densities = {name: min(1.0, value * scale) for name, value in densities.items()}
    counts = sparsity.kept_counts(sizes, densities, density)
    dense = {name for name in sizes if densities[name] >= 0.99}
    assert set(counts) == set(sizes) - dense
    assert sum(counts.values()) + sum(sizes[n] for n in dense) == round(density * sum(sizes.values()))
    assert all(0 <= counts[n] <= sizes[n] for n in counts)


def test_no_sparsity_masks_nothing():
    assert sparsity.kept_counts({'a': 5}, {'a': 1.0}, 1.0) == {}


def test_active_weights_that_are_zero_are_pruned_as_such():
    """Freshly grown weights of value zero count as pruned only when they leave the mask (SLaK's sort could not tell them apart)."""
    mask = torch.tensor([True, True, True, False, False])
    weight = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0])
    assert sparsity.prune_smallest_(mask, weight, 0.5) == 2  # ceil(1.5)
    assert mask.tolist() == [False, False, True, False, False]


def test_growth_never_takes_an_active_weight():
    mask = torch.tensor([True, False, True, False, False])
    sparsity.grow_largest_(mask, 2, torch.tensor([9.0, 1.0, 9.0, -3.0, 2.0]))
    assert mask.tolist() == [True, False, True, True, True]


def test_bernoulli_growth_varies_around_the_number_pruned():
    counts = []
    for seed in range(50):
        mask = torch.zeros(2000, dtype=torch.bool)
        mask[:500] = True
        sparsity.grow_bernoulli_(mask, 300, generator(seed))
        assert mask[:500].all()
        counts.append(int(mask.sum()) - 500)
    assert len(set(counts)) > 10
    assert abs(sum(counts) / len(counts) - 300) < 3 * math.sqrt(300 * 0.8 / 50)
    full = torch.ones(3, dtype=torch.bool)
    sparsity.grow_bernoulli_(full, 2, generator())  # nothing is free
    assert full.all()


def test_masks_are_a_function_of_the_seed_and_reach_all_places():
    one, same, other = (sparsity.sample_mask((8, 1, 5, 7), 100, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert int(one.sum()) == int(other.sum()) == 100
    hits = sum(sparsity.sample_mask((20,), 10, generator(seed)).int() for seed in range(200))
    assert 60 < int(hits.min()) and int(hits.max()) < 140


@pytest.mark.parametrize('shape', [(1,), (8,), (3, 5), (4, 1, 7, 3)])
def test_packed_masks_come_back(shape):
    mask = sparsity.sample_mask(shape, math.prod(shape) // 2, generator())
    packed = sparsity.pack_mask(mask)
    assert packed.dtype == torch.uint8
    assert len(packed) == math.ceil(math.prod(shape) / 8)
    assert torch.equal(sparsity.unpack_mask(packed, shape), mask)


def test_a_weight_in_another_memory_layout_is_masked_alike():
    weight = torch.randn(6, 4, 3, 3, generator=generator())
    masks = [sparsity.sample_mask(weight.shape, 100, generator()) for _ in range(2)]
    sparsity.prune_smallest_(masks[0], weight, 0.3)
    sparsity.prune_smallest_(masks[1], weight.to(memory_format=torch.channels_last), 0.3)
    assert torch.equal(*masks)
