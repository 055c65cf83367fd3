"""Options that change how a model is computed and not what: `compile`, `ddp`. And `ddp.compress`, which changes the numbers a little."""

import pytest
import torch
from torch import nn

from selfsup.engine.processes.compiling import compile_backbone
from selfsup.engine.processes.ddp import exchanging, refuse_unused, wrap
from selfsup.errors import ConfigError
from selfsup.registry import MODELS
from tests.distributed.helpers import run_ranks
from tests.resume.runs import differences, train, write_config


@pytest.fixture
def fresh_compiler():
    """What was compiled is forgotten, before and after."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.slow
def test_a_compiled_backbone_trains_exactly_and_goes_on_exactly(tmp_path, fresh_compiler):
    config = write_config(tmp_path, 'MOCO')
    options = ('checkpoint_config.by_epoch=False', 'total_epochs=1', 'checkpoint_config.interval=3')
    compiled = (*options, 'compile.backend=aot_eager')
    plain = train(config, tmp_path / 'plain', *options, curves=False)
    straight = train(config, tmp_path / 'straight', *compiled, curves=False)
    torch.compiler.reset()
    start = str(straight / 'iter_3.pth')
    resumed = train(config, tmp_path / 'resumed', *compiled, resume_from=start, curves=False)
    last = [folder / 'iter_6.pth' for folder in (plain, straight, resumed)]
    assert differences(last[1], last[2]) == [] and differences(last[0], last[1]) == []
    weights = torch.load(last[1], weights_only=True)['state_dict']
    assert not any('_orig_mod' in name for name in weights)


def test_both_networks_of_a_momentum_method_are_compiled_and_masked_ones_refused():
    parts = {'neck': {'type': 'LinearNeck', 'in_channels': 4, 'out_channels': 4}, 'head': {'type': 'ContrastiveHead'}}
    backbone = {'type': 'ConvNeXt', 'depths': (1,), 'dims': (4,)}
    moco = MODELS.build({'type': 'MOCO', 'backbone': backbone, **parts, 'feat_dim': 4})
    compile_backbone(moco, {'backend': 'eager'})
    assert moco.backbone._compiled_call_impl is not None and moco.key_backbone._compiled_call_impl is not None
    assert moco.neck._compiled_call_impl is None
    backbone = {'type': 'ConvNeXtV2', 'depths': (1, 1, 1, 1), 'dims': (4, 4, 4, 4)}
    masked = {'decoder': {'type': 'ConvNeXtV2Decoder', 'width': 4}, 'head': {'type': 'MaskedPixelHead'}}
    with pytest.raises(ConfigError, match=r'^compile cannot be used with FCMAE: .*Leave compile out'):
        compile_backbone(MODELS.build({'type': 'FCMAE', 'backbone': backbone, **masked}), {})


def gradients(options, windows):
    """Of two parameters after windows of micro-batches, the same on all ranks; what is refused."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    settings = {'distributed': True, 'channels_last': False, 'find_unused_parameters': False}
    model = wrap(net, torch.device('cpu'), **settings, options=options)
    generator = torch.Generator().manual_seed(torch.distributed.get_rank())
    for closes in windows:
        with exchanging(model, closes):
            model(torch.randn(5, 4, generator=generator)).square().mean().backward()
    refuse_unused(model)
    return [p.grad for p in net.parameters()]


def every_option(*cases):
    return [gradients(options, windows) for options in cases for windows in ((True,), (False, False, True))]


@pytest.mark.dist
def test_compressed_gradients_are_near_and_equal_on_all_ranks():
    cases = (
        {},
        {'bucket_cap_mb': 0.00001},
        {'gradient_as_bucket_view': True},
        {'compress': 'fp16'},
        {'compress': 'bf16'},
    )
    one, other = run_ranks(every_option, 2, *cases)
    for number, (mine, theirs) in enumerate(zip(one, other, strict=True)):
        for gradient, twin, exact in zip(mine, theirs, one[number % 2], strict=True):
            assert torch.equal(gradient, twin)
            if number < 6:
                assert torch.equal(gradient, exact), cases[number // 2]
            else:  # 11 and 8 bits of a number
                assert not torch.equal(gradient, exact)
                tolerance = 2**-10 if number < 8 else 2**-7
                torch.testing.assert_close(gradient, exact, rtol=tolerance, atol=tolerance * float(exact.abs().max()))
