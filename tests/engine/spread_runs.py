"""Tiny runs of ConvNeXt V2, alone and on two processes, with what spreads a model."""

from pathlib import Path

from tests.distributed.helpers import run_ranks
from tests.resume.runs import CONFIG, train, write_images

BACKBONE = "backbone=dict(type='ConvNeXtV2', depths=(1, 1, 2, 1), dims=(4, 8, 8, 16), drop_path_rate=0.2)"
MODELS = {
    'Classification': f"{BACKBONE}, head=dict(type='ClsHead', with_avg_pool=True, in_channels=16, num_classes=2)",
    'FCMAE': f"{BACKBONE}, decoder=dict(type='ConvNeXtV2Decoder', width=16), head=dict(type='MaskedPixelHead')",
}
DATASETS = {'Classification': 'ClassificationDataset', 'FCMAE': 'ExtractDataset'}


def write_spread_config(folder: Path, method: str) -> Path:
    """A config of `method` over 24 images of 64 pixels, half of each of two classes."""
    images = write_images(folder / 'images', size=64)
    names = (images / 'list.txt').read_text().split()
    (images / 'list.txt').write_text(''.join(f'{name} {i % 2}\n' for i, name in enumerate(names)))
    text = CONFIG.format(method=method, root=str(images), pixels=64, dataset=DATASETS[method], parts='')
    before, rest = text[: text.index('model = ')], text[text.index('source = ') :]
    path = folder / f'{method.lower()}.py'
    path.write_text(f"{before}model = dict(type='{method}', {MODELS[method]})\n{rest}")
    return path


def train_ranks(config, *runs):
    """In one process of several: runs after each other, each (work dir, options, arguments of `train`)."""
    for work_dir, options, arguments in runs:
        train(config, work_dir, *options, launcher='pytorch', curves=False, **arguments)


def on_two(config: Path, *runs) -> None:
    """`train_ranks` on two processes."""
    run_ranks(train_ranks, 2, config, *runs, timeout=240)  # one group for all of them


__all__ = ['on_two', 'train', 'write_spread_config']
