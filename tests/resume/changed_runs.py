"""Runs that are resumed with a setting changed: what they start from, and how two of them are compared."""

import itertools

import torch

from .runs import train, write_config, write_images
from .test_matrix import RESNET, write

STOP, STEPS = 7, 3  # where the first run stops, in mid-epoch, and how far a resume goes
# the reference: what an earlier version wrote, which knew no other, must end in the same weights
EVERY = ('checkpoint_config.by_epoch=False', 'total_epochs=2', 'pipeline_backend=reference')  # 12 iterations
EMA = {'type': 'EMAHook', 'momentum': 0.9}
SPARSE = {'type': 'SparseTrainingHook', 'sparsity': 0.6, 'init': 'erk', 'update_interval': 1, 'prune_rate': 0.5}
SGD = "optimizer={'type': 'SGD', 'lr': 0.05, 'momentum': 0.9, 'weight_decay': 1e-4}"
LARS = "optimizer={'type': 'LARS', 'lr': 0.05, 'momentum': 0.9, 'weight_decay': 1e-4}"
# name -> method of the config, and options of the run that is resumed
BASES = {
    'adamw': ('MOCO', ()),
    'sgd': ('MOCO', (SGD, 'lr_config=None')),
    'lars': ('MOCO', (LARS,)),
    'ema': ('SparK', (f'custom_hooks={[EMA]}',)),
    'sparse': ('MOCO', (f'custom_hooks={[SPARSE]}',)),
    'byol': ('BYOL', ("custom_hooks=[{'type': 'BYOLHook', 'end_momentum': 0.99}]",)),
    'classes': ('Classification', ()),
    'clusters': ('DeepCluster', ('data.imgs_per_gpu=8', 'total_epochs=4')),  # clusters again at iteration 9
}
# iteration 7 of 12 is in epoch 1 of 2, after the warm-up of 5: half way down the cosine from 0.01 to 0.001
HALF = (0.01 + 0.001) / 2


def maker_of_bases(folder):
    """name -> (config file, checkpoint after STOP iterations, checkpoint of the unchanged run STEPS later, options)."""
    images = write_images(folder / 'images', 24)
    (images / 'labels.txt').write_text(''.join(f'{i:03d}.jpg {i % 5}\n' for i in range(24)))
    made = {}

    def make(name):
        if name not in made:
            method, options = BASES[name]
            base = folder / name
            base.mkdir()
            config = (
                write(base, images, method, RESNET)
                if method in ('Classification', 'DeepCluster')
                else write_config(base, method)
            )
            options = (*EVERY, *options)
            first = train(config, base / f'{name}-first', *options, stop_after=STOP, curves=False)
            checkpoint = first / f'iter_{STOP}.pth'
            made[name] = config, checkpoint, resume(config, checkpoint, base / f'{name}-on', *options), options
        return made[name]

    return make


def resume(config, checkpoint, work_dir, *options, **how):
    """The checkpoint, read, STEPS iterations after `checkpoint`."""
    train(config, work_dir, *options, resume_from=str(checkpoint), stop_after=STOP + STEPS, curves=False, **how)
    return torch.load(work_dir / f'iter_{STOP + STEPS}.pth', weights_only=True)


def by_hand(checkpoint, path, schedules=None, **groups):
    """A checkpoint of an earlier version with these options in all its groups."""
    content = torch.load(checkpoint, weights_only=True)
    for name in ('compiled', 'data', 'classes'):
        del content['meta'][name]
    for group in content['optimizer']['param_groups']:
        group.update(groups)
    if schedules is not None:
        position = {'last_step': STOP, '_global_step': STOP + 1}
        content['param_schedulers'] = [position] * schedules
    torch.save(content, path)
    return path


def equal(one, other, part='state_dict'):
    return one[part].keys() == other[part].keys() and all(
        torch.equal(value, other[part][name]) for name, value in one[part].items()
    )


def log_of(work_dir):
    (file,) = work_dir.glob('*/*.log')
    return file.read_text()


def table(work_dir):
    """Lines of the comparison."""
    lines = log_of(work_dir).partition('Compared with the run that is resumed:\n')[2].splitlines()
    return [line.strip() for line in itertools.takewhile(lambda line: line.startswith('  '), lines)]
