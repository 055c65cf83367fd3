"""SparseTrainingHook in real runs: what must hold after every step, exact resume, bad input."""

import json
from pathlib import Path

import pytest
import torch

from selfsup.errors import CheckpointError, ConfigError, SelfSupWarning, TrainingError
from selfsup.hooks.sparse_training.first_masks import maskable, snip_scores
from selfsup.hooks.sparse_training.hook import STATE, SparseTrainingHook
from selfsup.models.algorithms.base import Algorithm, Step
from selfsup.models.backbones.slak import SLaK
from selfsup.optim.sparsity import snip_densities, unpack_mask
from selfsup.registry import MODELS
from tests.distributed.helpers import run_ranks
from tests.resume.runs import differences, train, write_config

from .sparse_runs import EVERY, SPARSE, options

GOLDEN = Path(__file__).parents[1] / 'golden'
FP16 = (
    "optim_wrapper={'type': 'AmpOptimWrapper', 'dtype': 'float16', 'loss_scale': 1e7, 'optimizer': {'type': 'AdamW', 'lr': 0.01}}",
    'optimizer=None',
    'optimizer_config=None',
)
MODES = {
    'fp32': (),
    'bf16': ('use_fp16=True',),
    # Steps after 4 and 2 micro-batches in turn.
    'accumulated': ('optimizer_config.update_interval=4', 'total_epochs=4'),
    'clipped': ('optimizer_config.grad_clip={"max_norm": 0.1}',),
    'sgd': ("optimizer={'type': 'SGD', 'lr': 0.01, 'momentum': 0.9}",),
}


@pytest.fixture(scope='module')
def configs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('configs')
    return {m: write_config(folder / m, m) for m in ('MOCO', 'BYOL')}


def saved(work_dir, name='epoch_3.pth'):
    return torch.load(work_dir / name, weights_only=True)


@pytest.mark.parametrize('mode', MODES)
def test_every_step_is_exactly_as_sparse_as_asked(configs, tmp_path, mode):
    train(configs['MOCO'], tmp_path, options(), *MODES[mode], curves=False)


@pytest.mark.parametrize(('mode', 'init'), [('fp32', 'snip'), ('bf16', 'erk')])
def test_a_whole_resnet18_on_images_of_cifar_size(configs, tmp_path, mode, init):
    """Three steps with exchanges after the first two; the watching hook looks at every weight after each."""
    size = (
        'model.backbone.stage_blocks=(2,2,2,2)',
        'model.backbone.base_channels=64',
        'model.neck.in_channels=512',
        'data.train.pipeline.0.size=32',
        'total_epochs=None',
        'total_iters=3',
        'checkpoint_config.interval=3',
    )
    work_dir = train(
        configs['MOCO'],
        tmp_path,
        options(average=False, init=init, update_interval=1),
        *size,
        *MODES[mode],
        curves=False,
    )
    state = saved(work_dir, 'iter_3.pth')
    weights = {
        name: value
        for name, value in state['state_dict'].items()
        if name.startswith(('backbone.', 'neck.')) and value.dim() in (2, 4)
    }
    assert sum(value.numel() for name, value in weights.items() if name.startswith('backbone.')) == 11_159_232
    total = sum(value.numel() for value in weights.values())
    assert sum(int((value == 0).sum()) for value in weights.values()) >= round(SPARSE['sparsity'] * total)
    masks = {name: unpack_mask(bits, weights[name].shape) for name, bits in state[STATE]['masks'].items()}
    inactive = sum(int((~mask).sum()) for mask in masks.values())
    assert inactive == round(SPARSE['sparsity'] * total) and state[STATE]['steps'] == 3
    assert all(not weights[name][~mask].any() for name, mask in masks.items())


@pytest.mark.parametrize(
    'arguments',
    [
        dict(init='snip'),
        dict(init='uniform', growth='gradient'),
        dict(growth='momentum'),
        dict(growth='bernoulli'),
        dict(update_interval=None),
        dict(mask_moments=True),
        dict(sparsity=0.95, only='layer4'),
    ],
    ids=str,
)
def test_every_kind(configs, tmp_path, arguments):
    work_dir = train(configs['BYOL'], tmp_path, options(**arguments), curves=False)
    state = saved(work_dir)
    shapes = {name: value.shape for name, value in state['state_dict'].items()}
    masks = {name: unpack_mask(bits, shapes[name]) for name, bits in state[STATE]['masks'].items()}
    assert masks
    assert all('layer4' in name for name in masks) == ('only' in arguments)
    names = [n for group in state['optimizer']['param_groups'] for n in group['param_names']]
    moments = dict(zip(names, state['optimizer']['state'].values(), strict=True))
    left = sum(int(moments[name]['exp_avg'][~mask].count_nonzero()) for name, mask in masks.items())
    assert (left == 0) == ('mask_moments' in arguments)


def test_steps_that_fp16_skips_are_no_steps(configs, tmp_path):
    """The first steps overflow: neither the masks nor the average moves, and the counter stays."""
    hooks = f'custom_hooks={[SPARSE, {"type": "EMAHook", "momentum": 0.9}]}'
    state = saved(train(configs['BYOL'], tmp_path, hooks, *FP16, curves=False))
    steps = {int(s['step']) for s in state['optimizer']['state'].values()}
    assert steps == {state[STATE]['steps']} == {state['ema']['steps']}
    assert 0 < state[STATE]['steps'] < 18


@pytest.mark.parametrize('stop', [3, 4, 9])
@pytest.mark.parametrize('mode', ['fp32', 'bf16 accumulated'])
def test_a_resumed_run_equals_a_straight_one(configs, tmp_path, stop, mode):
    """Between two exchanges and right at one."""
    more = () if mode == 'fp32' else ('use_fp16=True', 'optimizer_config.update_interval=2')
    arguments = (EVERY, options(init='snip', growth='gradient'), *more)
    stop *= 2 if more else 1
    straight = train(configs['MOCO'], tmp_path / 'straight', *arguments, curves=False)
    part = train(configs['MOCO'], tmp_path / 'part', *arguments, stop_after=stop, curves=False)
    train(configs['MOCO'], part, *arguments, auto_resume=True, curves=False)
    assert differences(straight / 'iter_18.pth', part / 'iter_18.pth') == []
    state = saved(part, 'iter_18.pth')
    assert state[STATE]['steps'] == state['ema']['steps'] == (9 if more else 18)
    assert state[STATE]['prune_rate'] == 0.005


class Labelled(Algorithm):
    """Images to classes: the backbone's own classifier, as in the official network."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def loss(self, img, gt_label):
        return Step({'loss': torch.nn.functional.cross_entropy(self.backbone.classify(img), gt_label)})


@pytest.mark.parametrize(
    ('kind', 'key'),
    [
        (kind, f'snip_{scope}_{density}')
        for kind, scope in (('decom', 'default'), ('decom', 'onlyL'), ('nodecom', 'default'))
        for density in (0.6, 0.2)
    ],
)
def test_snip_keeps_what_slak_keeps(kind, key):
    golden = torch.load(GOLDEN / f'slak_sparsity_{kind}.pt', weights_only=True)
    config = torch.load(GOLDEN / f'slak_{kind}_golden.pt', weights_only=True)['config']
    backbone = SLaK(
        depths=config['depths'],
        dims=config['dims'],
        width_factor=config['width_factor'],
        kernel_size=config['kernel_size'],
        decom=config['Decom'],
        num_classes=config['num_classes'],
    )
    backbone.load_state_dict(torch.load(GOLDEN / f'slak_{kind}_model.pt', weights_only=True)['model'])
    model, before = Labelled(backbone), {name: value.clone() for name, value in backbone.state_dict().items()}
    weights = maskable(model, r'large_kernel\.LoRA' if 'onlyL' in key else '')
    expected = golden[key]
    assert list(weights) == [
        f'backbone.{name}' for name in golden['names_only_L' if 'onlyL' in key else 'names_default']
    ]
    scores = snip_scores(model, {'img': golden['images'], 'gt_label': golden['labels']}, weights)
    strict = snip_densities(scores, expected['density'], share_ties=False)
    for name, sparsity in expected['sparsity'].items():
        kept, wanted = (round(share * expected['numel'][name]) for share in (strict[f'backbone.{name}'], 1 - sparsity))
        assert abs(kept - wanted) <= 2, name
    shared = snip_densities(scores, expected['density'])
    kept, total = (
        sum(shared[f'backbone.{name}'] * n for name, n in expected['numel'].items()),
        sum(expected['numel'].values()),
    )
    assert kept == pytest.approx(int(expected['density'] * total))
    assert all(shared[name] >= strict[name] for name in strict)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())  # statistics too
    assert all(p.grad is None for p in model.parameters())


def test_snip_names_a_gradient_that_is_not_finite():
    model = Labelled(SLaK(depths=(1,), dims=(4,), kernel_size=(7, 3), num_classes=2))
    with pytest.raises(
        TrainingError, match=r'gradient of backbone\.downsample_layers\.0\.0\.weight on the first batch is not finite'
    ):
        snip_scores(
            model, {'img': torch.full((2, 3, 16, 16), float('nan')), 'gt_label': torch.tensor([0, 1])}, maskable(model)
        )


def test_snip_leaves_the_run_as_it_was(configs, tmp_path):
    """Data order, random numbers, statistics: with nothing to mask the run is the one without the hook."""
    with_hook = saved(
        train(
            configs['MOCO'],
            tmp_path / 'with',
            f'custom_hooks={[{**SPARSE, "init": "snip", "sparsity": 0.0}]}',
            'data.workers_per_gpu=1',
            'total_epochs=1',
        ),
        'epoch_1.pth',
    )
    plain = saved(train(configs['MOCO'], tmp_path / 'plain', 'total_epochs=1'), 'epoch_1.pth')
    assert with_hook[STATE]['masks'] == {}
    assert all(torch.equal(value, with_hook['state_dict'][name]) for name, value in plain['state_dict'].items())


def test_what_is_logged(configs, tmp_path):
    work_dir = train(configs['MOCO'], tmp_path, options())
    rows = [json.loads(line) for file in work_dir.glob('*/vis_data/2*.json') for line in file.read_text().splitlines()]
    rates = [row['prune_rate'] for row in rows if 'prune_rate' in row]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] < 0.5 and rates[-1] == pytest.approx(0.005)
    assert all(row['sparsity'] == pytest.approx(0.6, abs=1e-4) for row in rows if 'sparsity' in row)
    text = next(work_dir.glob('*/2*.log')).read_text()
    assert text.count('Sparse training, step') == 1 + 4  # the start, and steps 4, 8, 12, 16
    table = text.split('Sparse training, step 4: prune rate')[1]
    assert 'pruned' in table.splitlines()[1]
    total = next(line for line in table.splitlines() if line.startswith('all ')).split()
    weights, active, pruned, grown = (int(x.replace(',', '')) for x in total[1:5])
    assert abs(active - 0.4 * weights) <= 1
    assert pruned == grown > 0


def test_a_sparse_checkpoint_is_fine_tuned(configs, tmp_path):
    first = train(configs['MOCO'], tmp_path / 'first', options(update_interval=None), 'total_epochs=1', curves=False)
    second = train(
        configs['MOCO'],
        tmp_path / 'second',
        options(sparsity=None, init='resume', update_interval=None),
        f'load_from={first}/epoch_1.pth',
        'total_epochs=1',
        curves=False,
    )
    old, new = saved(first, 'epoch_1.pth'), saved(second, 'epoch_1.pth')
    assert old[STATE]['masks'].keys() == new[STATE]['masks'].keys()
    assert all(torch.equal(value, new[STATE]['masks'][name]) for name, value in old[STATE]['masks'].items())
    with pytest.warns(SelfSupWarning, match=r'found sparsity 0\.6000 in the weights; sparsity=0.3 is not used'):
        train(
            configs['MOCO'],
            tmp_path / 'third',
            f'custom_hooks={[{**SPARSE, "init": "resume", "sparsity": 0.3}]}',
            f'load_from={first}/epoch_1.pth',
            'total_epochs=1',
            curves=False,
        )
    with pytest.raises(ConfigError, match='none is zero: load a sparse model'):
        train(configs['MOCO'], tmp_path / 'dense', options(init='resume'))


def test_a_run_is_not_resumed_with_other_masks(configs, tmp_path):
    plain = train(configs['MOCO'], tmp_path / 'plain', 'total_epochs=1', curves=False)
    with pytest.raises(CheckpointError, match=r'holds no masks.*load_from'):
        train(configs['MOCO'], tmp_path / 'a', f'custom_hooks={[SPARSE]}', resume_from=str(plain / 'epoch_1.pth'))
    with pytest.raises(
        CheckpointError, match=r'EMAHook was not set .*--allow-changed custom_hooks\.EMAHook\).*load_from'
    ):
        train(
            configs['MOCO'],
            tmp_path / 'b',
            "custom_hooks=[{'type': 'EMAHook'}]",
            resume_from=str(plain / 'epoch_1.pth'),
        )
    sparse = train(configs['MOCO'], tmp_path / 'sparse', f'custom_hooks={[SPARSE]}', 'total_epochs=1', curves=False)
    with pytest.raises(CheckpointError, match=r'sparsity=0.6, only=.*config says sparsity=0.5'):
        train(
            configs['MOCO'],
            tmp_path / 'c',
            f'custom_hooks={[{**SPARSE, "sparsity": 0.5}]}',
            resume_from=str(sparse / 'epoch_1.pth'),
        )


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(init='sinp'), r"init='sinp': must be .*\. Did you mean 'snip'"),
        (dict(init='ERK'), r"init='ERK': must be .*\. Did you mean 'erk'"),
        (dict(growth='randon'), r"growth='randon': must be .*\. Did you mean 'random'"),
        (dict(prune='SET'), r"prune='SET': must be 'magnitude'"),
        (dict(sparsity=1.0), r'sparsity=1\.0: must be a number in \[0, 1\)'),
        (dict(sparsity=-0.1), r'sparsity=-0\.1'),
        (dict(sparsity='0.4'), r"sparsity='0\.4'"),
        (dict(sparsity=float('nan')), r'sparsity=nan'),
        (dict(sparsity=None), r'needs sparsity'),
        (dict(update_interval=0), r'update_interval=0: must be a whole number >= 1'),
        (dict(prune_rate=0), r'prune_rate=0: must be a number in \(0, 1\]'),
        (dict(final_prune_rate=0.6), r'final_prune_rate=0\.6: use a number in \[0, prune_rate=0\.5\]'),
        (dict(growth='momentum', mask_moments=True), r"growth='momentum' reads the moments"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        SparseTrainingHook(**{k: v for k, v in {**SPARSE, **arguments}.items() if k != 'type'})


@pytest.mark.parametrize(
    ('hooks', 'more', 'message'),
    [
        (
            [{**SPARSE, 'only': r'large_kernel\.LoRA'}],
            (),
            r"only='large_kernel.*is found in none of the \d+ weights.*: backbone\.conv1",
        ),
        ([{**SPARSE, 'only': '('}], (), r"only='\(' is no regular expression"),
        ([SPARSE, SPARSE], (), 'several SparseTrainingHooks'),
        (
            [{**SPARSE, 'growth': 'momentum'}],
            ("optimizer={'type': 'SGD', 'lr': 0.01}",),
            r"growth='momentum': SGD keeps none",
        ),
        ([{'type': 'EMAHook', 'momentum': 1.0}], (), r'momentum=1\.0 .*must be a number in \[0, 1\)'),
    ],
)
def test_hooks_that_do_not_fit(configs, tmp_path, hooks, more, message):
    with pytest.raises(ConfigError, match=message):
        train(configs['MOCO'], tmp_path, f'custom_hooks={hooks}', *more)


def test_snip_needs_labels(tmp_path):
    """DeepCluster's first labels come after the first masks."""
    from tests.shipped_configs.small import check, image_folder

    with pytest.raises(ConfigError, match=r"init='snip' looks at the loss.*gets its labels later, from clustering"):
        check(
            Path('configs/selfsup/deepcluster/r50.py'),
            image_folder(tmp_path / 'images'),
            tmp_path / 'work',
            f'custom_hooks={[{**SPARSE, "init": "snip"}]}',
        )


def test_masks_that_never_change_are_pointed_out(configs, tmp_path):
    with pytest.warns(SelfSupWarning, match=r'update_interval=100: the run has 6 optimizer steps'):
        train(
            configs['MOCO'],
            tmp_path,
            f'custom_hooks={[{**SPARSE, "update_interval": 100}]}',
            'total_epochs=1',
            curves=False,
        )


def test_momentum_networks_norms_and_tokens_are_not_masked():
    neck = dict(type='NonLinearNeckV1', in_channels=32, hid_channels=16, out_channels=8)
    model = MODELS.build(
        dict(
            type='MOCO',
            backbone=dict(type='ConvNeXtV2', depths=(1, 1, 1, 1), dims=(4, 8, 16, 32)),
            neck=neck,
            head=dict(type='ContrastiveHead'),
            queue_len=8,
            feat_dim=8,
        )
    )
    names = list(maskable(model))
    assert 'neck.mlp.0.weight' in names
    assert not [
        name for name in names if name.startswith('key_') or 'grn' in name or 'norm' in name or name.endswith('bias')
    ]
    expected = [n for n, p in model.named_parameters() if p.requires_grad and p.ndim in (2, 4) and 'grn' not in n]
    assert sorted(names) == sorted(expected)


@pytest.mark.dist
def test_two_processes_have_the_same_masks_and_resume_exactly(configs, tmp_path):
    """Watch, on every rank, compares its masks and weights with those of rank 0."""
    run_ranks(_two_processes, 2, configs['MOCO'], tmp_path / 'straight', None, False, init_group=False)
    run_ranks(_two_processes, 2, configs['MOCO'], tmp_path / 'part', 5, False, init_group=False)
    run_ranks(_two_processes, 2, configs['MOCO'], tmp_path / 'part', None, True, init_group=False)
    assert differences(tmp_path / 'straight' / 'iter_9.pth', tmp_path / 'part' / 'iter_9.pth') == []


def _two_processes(config, work_dir, stop_after, auto_resume):
    arguments = (
        EVERY,
        options(init='snip', growth='gradient', update_interval=2),
        'data.imgs_per_gpu=2',
        'use_fp16=True',
        'total_epochs=None',
        'total_iters=9',
    )
    train(
        config, work_dir, *arguments, stop_after=stop_after, launcher='pytorch', auto_resume=auto_resume, curves=False
    )
