"""Gradients clipped one by one and dropped at first, on two processes: whole copies and weights that are dealt out."""

import pytest
import torch

from tests.engine.spread_runs import on_two, train, write_spread_config

OPTIONS = (
    'data.imgs_per_gpu=2',
    'total_epochs=1',
    'checkpoint_config.by_epoch=False',
    'checkpoint_config.interval=2',
    "optimizer={'type': 'SGD', 'lr': 0.1, 'momentum': 0.9, 'weight_decay': 0.1}",
    'model.backbone.drop_path_rate=0.0',
    "optimizer_config.grad_clip={'max_norm': 0.01, 'per_tensor': True}",
    "optimizer_config.freeze=[{'parameters': '^head', 'iters': 4}]",
)


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_do_as_one_whole_or_dealt_out(tmp_path):
    """The norm of a gradient that is dealt out is that of all its shares."""
    config = write_spread_config(tmp_path, 'Classification')
    folders = [tmp_path / name for name in ('one', 'whole', 'dealt')]
    train(config, folders[0], *OPTIONS, 'data.imgs_per_gpu=4', curves=False)
    on_two(config, (folders[1], OPTIONS, {}), (folders[2], (*OPTIONS, 'fsdp=True'), {}))
    runs = [
        {i: torch.load(folder / f'iter_{i}.pth', weights_only=True)['state_dict'] for i in (2, 4, 6)}
        for folder in folders
    ]
    for states in runs:
        heads = [states[i]['head.fc_cls.weight'] for i in (2, 4, 6)]
        assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[1], heads[2])
        for i, state in states.items():
            for name, value in state.items():
                torch.testing.assert_close(value, runs[0][i][name], rtol=1e-4, atol=1e-6, msg=f'{name} at {i}')
    moved = runs[0][6]['backbone.stages.0.0.dwconv.weight'] - runs[0][2]['backbone.stages.0.0.dwconv.weight']
    assert moved.abs().max() > 1e-5  # far more than the limits above
