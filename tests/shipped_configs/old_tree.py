"""The training configs of OpenSelfSup v0.3.0 in their own spelling, each a file that stands alone but for `base.py`.

`old/` holds one full file for each that is written differently; `VARIANTS` are the others, by what they say differently.
`write_tree` writes all of them under their documented names, because what must work is a user's file.

Counted by the documented table: 18 under selfsup/, 2 under classification/, 6 linear, 2 x (3 learning rates x 3 head factors
+ 1 with edges) semi-supervised: 46 that train something, 47 with `base.py`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

OLD = Path(__file__).parent / 'old'
FULL = tuple(sorted(p.relative_to(OLD).with_suffix('').as_posix() for p in OLD.glob('*/**/*.py')))
Change = tuple[str, str]

FP16 = ('total_epochs = ', '# apex\nuse_fp16 = True\noptimizer_config = dict(use_fp16=use_fp16)\ntotal_epochs = ')
SOBEL = (('with_sobel=False', 'with_sobel=True'), ('in_channels=3', 'in_channels=2'))
LINEAR, SEMI = 'benchmarks/linear_classification', 'benchmarks/semi_classification/imagenet_{}percent/r50_lr{}_head{}'
SEMI_FULL = SEMI.format(1, '0_01', 1)


def _semi(percent: int, lr: str, head: str) -> tuple[Change, ...]:
    factor, _, sobel = head.partition('_')
    return (
        *(
            [('_1percent.txt', '_10percent.txt'), ('weight_decay=0.0005', 'weight_decay=0.0001')]
            if percent == 10
            else []
        ),
        *([('lr=0.01', f'lr={lr.replace("_", ".")}')] if lr != '0_01' else []),
        *([('lr_mult=1)', f'lr_mult={factor})')] if factor != '1' else []),
        *(SOBEL if sobel else ()),
    )


VARIANTS: dict[str, tuple[str, tuple[Change, ...]]] = {
    'selfsup/rotation_pred/r50_fp16': ('selfsup/rotation_pred/r50', (FP16,)),
    'selfsup/npid/r50_ensure_neg': ('selfsup/npid/r50', (('neg_num=65536', 'neg_num=65536, ensure_neg=True'),)),
    'selfsup/deepcluster/r50_withoutsobel': (
        'selfsup/deepcluster/r50',
        (
            ('with_sobel=True', 'with_sobel=False'),
            ('in_channels=2,', 'in_channels=3,'),
            ('lr=0.1,', 'lr=0.3,'),
            ("'data/imagenet/train'", "'data/imagenet/jpeg/train'"),
        ),
    ),
    'selfsup/moco/r50_v1_fp16': ('selfsup/moco/r50_v1', (FP16,)),
    'selfsup/moco/r50_v2_simclr_neck': (
        'selfsup/moco/r50_v2',
        (("'NonLinearNeckV1'", "'NonLinearNeckSimCLR', num_layers=2, sync_bn=True"),),
    ),
    'selfsup/simclr/r50_bs256_ep200_mocov2_neck': (
        'selfsup/simclr/r50_bs256_ep200',
        (("'NonLinearNeckSimCLR'", "'NonLinearNeckV1'"), (' num_layers=2,', '')),
    ),
    'selfsup/simclr/r50_bs512_ep200': (
        'selfsup/simclr/r50_bs256_ep200',
        (('imgs_per_gpu=32', 'imgs_per_gpu=64'), ('lr=0.3', 'lr=0.6')),
    ),
    'selfsup/byol/r50_bs2048_accumulate2_ep200_fp16': (
        'selfsup/byol/r50_bs256_accumulate16_ep300',
        (
            ('imgs_per_gpu=32', 'imgs_per_gpu=256'),
            ('update_interval = 16', 'update_interval = 2'),
            ('use_fp16 = False', 'use_fp16 = True'),
            ('total_epochs = 300', 'total_epochs = 200'),
        ),
    ),
    **{
        f'{LINEAR}/{name}_sobel': (f'{LINEAR}/{name}', SOBEL)
        for name in ('imagenet/r50_last', 'imagenet/r50_multihead', 'places205/r50_multihead')
    },
    **{
        name: (SEMI_FULL, _semi(percent, lr, head))
        for percent in (1, 10)
        for lr in ('0_001', '0_01', '0_1')
        for head in ('1', '10', '100', *(['1_sobel'] if lr == '0_01' else []))
        if (name := SEMI.format(percent, lr, head)) != SEMI_FULL
    },
}
NAMES = tuple(sorted((*FULL, *VARIANTS)))


def write_tree(folder: Path) -> Path:
    """Write `base.py` and every file of `NAMES` below `folder`, and return it."""
    shutil.copytree(OLD, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns('__pycache__'))
    for name, (full, changes) in VARIANTS.items():
        text = (OLD / f'{full}.py').read_text()
        for old, new in changes:
            assert text.count(old) == 1, f'{name}: {old!r} stands {text.count(old)} times in {full}'
            text = text.replace(old, new)
        path = folder / f'{name}.py'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
