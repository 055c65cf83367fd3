"""Large-kernel convolution: every implementation against `F.conv2d` in double precision, values and gradients."""

import copy
import pickle
import random
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from selfsup.errors import ConfigError, ShapeError
from selfsup.models.large_kernel.conv import IMPLEMENTATIONS, LargeKernelConv2d, choose, large_kernel_conv2d

from .visible_cases import assert_same, ragged

EVERY = pytest.mark.parametrize('implementation', [None, *IMPLEMENTATIONS])
OWN = pytest.mark.parametrize('implementation', ['correlation', 'band'])
TOLERANCE = {torch.float64: 1e-12, torch.float32: 5e-6, torch.bfloat16: 2e-2, torch.float16: 3e-3}
SHAPES = [  # (B, C, H, W), (kh, kw)
    ((2, 3, 9, 9), (51, 5)),
    ((2, 3, 9, 9), (5, 51)),
    ((1, 5, 40, 9), (7, 3)),
    ((1, 5, 9, 40), (3, 7)),
    ((3, 2, 6, 4), (5, 5)),
    ((1, 1, 1, 1), (13, 5)),
    ((2, 7, 1, 8), (3, 9)),
    ((2, 17, 8, 8), (9, 9)),
    ((1, 3, 14, 14), (47, 5)),
    ((2, 70, 4, 5), (1, 1)),
    ((2, 4, 8, 6), (1, 5)),
    ((9, 1, 5, 5), (3, 11)),
]


def draw(shape, kernel, dtype=torch.float64, seed=0):
    """Map, weight, bias, gradient of the output."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(size, generator=generator, dtype=torch.float64).to(dtype)
        for size in (shape, (shape[1], 1, *kernel), (shape[1],), shape)
    ]


def reference(x, weight, bias, grad):
    """Output and gradients of torch's convolution in double precision."""
    leaves = [t.detach().double().requires_grad_() for t in (x, weight, bias)]
    out = F.conv2d(*leaves, padding=(weight.shape[2] // 2, weight.shape[3] // 2), groups=len(weight))
    return [out, *torch.autograd.grad(out, leaves, grad.double())]


def results(implementation, x, weight, bias, grad):
    leaves = [t.detach().requires_grad_() for t in (x, weight, bias)]
    out = large_kernel_conv2d(*leaves, implementation)
    return [out, *torch.autograd.grad(out, leaves, grad)]


def assert_close(given, expected, tolerance):
    for a, b in zip(given, expected, strict=True):
        assert a.shape == b.shape
        assert float((a.double() - b).detach().abs().max()) <= tolerance * float(b.detach().abs().max())


@EVERY
@pytest.mark.parametrize('dtype', TOLERANCE, ids=str)
@pytest.mark.parametrize(('shape', 'kernel'), SHAPES)
def test_equals_conv2d(implementation, dtype, shape, kernel):
    x, weight, bias, grad = draw(shape, kernel, dtype)
    expected = reference(x, weight, bias, grad)
    for layout in (torch.contiguous_format, torch.channels_last):
        given = results(implementation, x.contiguous(memory_format=layout), weight, bias, grad)
        assert given[0].dtype == dtype and given[0].is_contiguous(memory_format=layout)
        assert_close(given, expected, TOLERANCE[dtype])


@OWN
def test_random_shapes(implementation):
    rng = random.Random(0)
    for seed in range(40):
        shape = rng.randint(1, 4), rng.randint(1, 40), rng.randint(1, 20), rng.randint(1, 20)
        kernel = rng.randrange(1, 60, 2), rng.randrange(1, 9, 2)
        x, weight, bias, grad = draw(shape, kernel if seed % 2 else kernel[::-1], torch.float32, seed)
        assert_close(results(implementation, x, weight, bias, grad), reference(x, weight, bias, grad), 1e-5)


@OWN
@pytest.mark.parametrize('kernel', [(7, 3), (3, 7), (3, 3)])
def test_gradients_by_finite_differences(implementation, kernel):
    x, weight, bias, _ = (t.requires_grad_() for t in draw((2, 2, 5, 4), kernel))
    assert torch.autograd.gradcheck(lambda *leaves: large_kernel_conv2d(*leaves, implementation), (x, weight, bias))


@EVERY
@pytest.mark.parametrize('wanted', [0, 1])
def test_gradient_of_one_argument_only(implementation, wanted):
    x, weight, bias, grad = draw((2, 3, 8, 8), (11, 3), torch.float32)
    (x, weight)[wanted].requires_grad_()
    given = torch.autograd.grad(large_kernel_conv2d(x, weight, bias, implementation), (x, weight)[wanted], grad)
    assert_close(given, reference(x, weight, bias, grad)[1 + wanted : 2 + wanted], 5e-6)


@EVERY
def test_taps_that_touch_only_padding_get_a_gradient_of_zero(implementation):
    x, weight, bias, grad = draw((2, 3, 6, 5), (21, 5), torch.float32)
    gradient = results(implementation, x, weight, bias, grad)[2]
    reach = slice(10 - 5, 10 + 6)  # an output row is at most 5 rows away from an input row
    assert gradient[:, :, reach].abs().min() > 0
    gradient[:, :, reach] = 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


@EVERY
def test_taps_of_zero_count_as_nothing(implementation):
    x, weight, _, _ = draw((2, 3, 12, 12), (15, 5), torch.float32)
    weight[:, :, 8:] = 0  # what is left looks up only
    x[:, :, 6:] = 1e30
    out = large_kernel_conv2d(x, weight, None, implementation)
    x[:, :, 6:] = 0
    assert torch.equal(out[:, :, :6], large_kernel_conv2d(x, weight, None, implementation)[:, :, :6])
    assert not large_kernel_conv2d(x, torch.zeros_like(weight), None, implementation).any()


@EVERY
def test_input_that_is_no_dense_block_of_memory(implementation):
    x, weight, bias, grad = draw((2, 6, 9, 8), (9, 3))
    for view in (x[:, ::2, :, 1:], x[..., 1:].flip(2)[:, 3:], x[:1, :3, :, 1:].expand(2, 3, 9, 7)):
        given = results(implementation, view, weight[:3], bias[:3], grad[:, :3, :, 1:])
        assert_close(given, reference(view, weight[:3], bias[:3], grad[:, :3, :, 1:]), 1e-12)


@EVERY
def test_gradient_of_the_output_in_any_layout(implementation):
    x, weight, bias, grad = draw((2, 3, 9, 8), (9, 3), torch.float32)
    expected = reference(x, weight, bias, grad)
    for odd in (grad.contiguous(memory_format=torch.channels_last), grad.transpose(2, 3).contiguous().transpose(2, 3)):
        assert_close(results(implementation, x, weight, bias, odd), expected, 5e-6)
    leaf = x.clone().requires_grad_()
    large_kernel_conv2d(leaf, weight, bias, implementation).sum().backward()  # an expanded one
    assert_close([leaf.grad], reference(x, weight, bias, torch.ones_like(grad))[1:2], 5e-6)


@EVERY
def test_empty_batch(implementation):
    x, weight, bias, grad = draw((0, 3, 6, 6), (9, 3), torch.float32)
    out, grad_x, grad_weight, _ = results(implementation, x, weight, bias, grad)
    assert out.shape == grad_x.shape == (0, 3, 6, 6) and not grad_weight.any()


@EVERY
def test_autocast(implementation):
    x, weight, bias, grad = draw((2, 3, 10, 10), (13, 5), torch.float32)
    leaves = [t.requires_grad_() for t in (x, weight, bias)]
    with torch.autocast('cpu', torch.bfloat16):
        out = large_kernel_conv2d(*leaves, implementation)
        assert out.dtype == torch.bfloat16
        # As conv2d does
        assert large_kernel_conv2d(x.double(), weight.double(), None, implementation).dtype == torch.float64
        gradients = torch.autograd.grad(out, leaves, grad.bfloat16())
    assert all(g.dtype == torch.float32 for g in gradients)
    assert_close([out, *gradients], reference(x, weight, bias, grad), 2e-2)


def test_a_large_batch_in_bfloat16_is_summed_in_full_precision():
    x, weight, bias, grad = draw((256, 2, 3, 3), (5, 3), torch.bfloat16)
    for implementation in ('correlation', 'band'):
        assert_close(results(implementation, x, weight, bias, grad)[2:3], reference(x, weight, bias, grad)[2:3], 8e-3)


def test_threads_do_not_matter():
    x, weight, bias, grad = draw((2, 20, 12, 12), (15, 5), torch.float32)
    threads = torch.get_num_threads()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            for implementation in IMPLEMENTATIONS:
                assert_close(results(implementation, x, weight, bias, grad), reference(x, weight, bias, grad), 5e-6)
    finally:
        torch.set_num_threads(threads)


@OWN
def test_second_derivative_is_refused(implementation):
    x, weight, _, _ = (t.requires_grad_() for t in draw((1, 2, 5, 5), (5, 3)))
    (first,) = torch.autograd.grad(
        large_kernel_conv2d(x, weight, None, implementation).square().sum(), x, create_graph=True
    )
    with pytest.raises(RuntimeError, match='once_differentiable'):
        first.sum().backward()


@EVERY
@pytest.mark.parametrize('kernel', [(11, 3), (3, 11), (3, 3)])
def test_maps_of_visible_blocks(implementation, kernel):
    net = nn.Sequential(
        nn.Conv2d(3, 4, 2, 2),
        LargeKernelConv2d(4, kernel, True, implementation),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        LargeKernelConv2d(4, kernel[::-1], False, implementation),
    ).double()
    assert_same(
        net, torch.randn(3, 3, 16, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), ragged(3, 2, 3)
    )


def test_module_is_an_ordinary_convolution():
    layer = LargeKernelConv2d(4, (11, 3), bias=True)
    plain = nn.Conv2d(4, 4, (11, 3), padding=(5, 1), groups=4)
    plain.load_state_dict(layer.state_dict())
    assert isinstance(layer, nn.Conv2d) and layer.padding == plain.padding
    x = torch.randn(2, 4, 9, 9)
    for same in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(same(x), plain(x), rtol=1e-5, atol=1e-5)
    assert 'implementation' not in repr(layer) and "implementation='band'" in repr(
        LargeKernelConv2d(4, 5, implementation='band')
    )


def test_choice_follows_gradient_dtype_and_device():
    x = torch.randn(8, 2, 56, 56)
    weight = torch.randn(2, 1, 51, 5, requires_grad=True)
    assert choose(x, weight) == 'correlation'
    assert choose(x[:7, :, :50], weight) == 'correlation'
    with torch.no_grad():
        assert choose(x, weight) == 'trimmed'
    assert choose(x.double(), weight.double()) == 'trimmed'
    assert (
        choose(x.to('meta'), weight.to('meta')) == 'band'
        and choose(x.to('meta'), weight[:, :, 23:28].to('meta')) == 'trimmed'
    )


@pytest.mark.parametrize('kernel', [4, (5, 4), 0, -3, (3, 3, 3), 5.0, True])
def test_kernel_that_is_not_odd(kernel):
    with pytest.raises(ConfigError, match='give an odd number'):
        LargeKernelConv2d(4, kernel)


def test_errors_say_what_was_given():
    with pytest.raises(ConfigError, match="Did you mean 'band'"):
        LargeKernelConv2d(4, 5, implementation='bands')
    x, weight, bias, _ = draw((2, 4, 6, 6), (5, 3))
    with pytest.raises(ConfigError, match='None chooses'):
        large_kernel_conv2d(x, weight, None, 'fft')
    for arguments, message in (
        ((x, weight[:, :, 1:]), r'odd sides.*\(4, 3\)'),
        ((x, weight.expand(4, 2, 5, 3)), 'must be .C, 1, kh, kw'),
        ((x[:, 1:], weight), r'must be \(B, 4, H, W\)'),
        ((x[0], weight), r'must be \(B, 4, H, W\)'),
        ((x, weight, bias[1:]), r'bias must be \(4,\)'),
    ):
        with pytest.raises(ShapeError, match=message):
            large_kernel_conv2d(*arguments)


@EVERY
def test_export(implementation):
    layer, x = LargeKernelConv2d(3, (27, 5), True, implementation), torch.randn(2, 3, 10, 9)
    height = {2: torch.export.Dim.AUTO}
    program = torch.export.export(layer, (x,), dynamic_shapes=(height,)).module()
    for size in (10, 30):
        x = torch.randn(2, 3, size, 9)
        torch.testing.assert_close(program(x), F.conv2d(x, layer.weight, layer.bias, padding=layer.padding, groups=3))


@EVERY
def test_onnx(implementation, tmp_path):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxscript')
    runtime = pytest.importorskip('onnxruntime')
    layer, path = LargeKernelConv2d(3, (27, 5), True, implementation).eval(), tmp_path / 'layer.onnx'
    batch = {0: torch.export.Dim('batch')}
    torch.onnx.export(
        layer,
        (torch.randn(2, 3, 10, 9),),
        str(path),
        dynamo=True,
        verbose=False,
        dynamic_shapes=(batch,),
        input_names=['x'],
    )
    session = runtime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    x = torch.randn(5, 3, 10, 9)
    (out,) = session.run(None, {'x': x.numpy()})
    torch.testing.assert_close(
        torch.from_numpy(out), F.conv2d(x, layer.weight, layer.bias, padding=layer.padding, groups=3)
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('g++') is None, reason='torch.compile needs a C++ compiler on a CPU')
@pytest.mark.parametrize('implementation', [None, 'trimmed', 'correlation'])
def test_compile(implementation):
    x, weight, bias, grad = draw((2, 3, 10, 9), (27, 5), torch.float32)
    torch._dynamo.reset()
    compiled = torch.compile(large_kernel_conv2d, fullgraph=True)
    leaves = [t.requires_grad_() for t in (x, weight, bias)]
    out = compiled(*leaves, implementation)
    assert_close([out, *torch.autograd.grad(out, leaves, grad)], reference(x, weight, bias, grad), 5e-6)
