"""Rules of `VisibleMap` for operations that look beyond a position: convolutions and poolings.

Geometry, per axis, for kernel k, stride s, dilation d and padding p: a block of z pixels gives z / s outputs, of which the first
reads p pixels before the block and the last d * (k - 1) + 1 - s - p pixels after it. Blocks are fetched with that halo and then go
through the unpadded operation, so every output costs what it costs in a whole map.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ...errors import ConfigError
from . import block_conv, block_grn, grn
from .block_map import CONVOLUTIONS, BlockMap, Rules, takes_margin, where
from .functional import in_autocast_dtype
from .large_kernel import large_kernel_conv2d
from .map_norms import NORMS, need_channels_first, need_channels_last
from .map_rules import mul
from .map_whole import PAD_MODES, keeps_blocks, pair, pooled_beyond_blocks
from .norm_relu import Normed, Rectified, relu_rows

VISIBLE = Rules(NORMS)


def _window(
    x: BlockMap,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, int],
    ceil_mode: bool = False,
) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    """Pixels to fetch around a block at the (top, bottom, left, right), and outputs per block.

    Args:
        padding: of the operation itself, per axis (before, after); the margin of `x` is added here.

    Raises:
        ConfigError: the outputs do not fall into equal blocks.
    """
    pads, sizes = [], []
    for axis, size in enumerate(x.block_size()):
        before, after = (p + m for p, m in zip(padding[axis], x.margin[2 * axis : 2 * axis + 2], strict=True))
        grid = (x.blocks.fh, x.blocks.fw)[axis]
        reach, step = dilation[axis] * (kernel[axis] - 1) + 1, stride[axis]
        room = grid * size + before + after - reach
        outputs = (-(-room // step) if ceil_mode else room // step) + 1
        if size % step or outputs * step != grid * size:
            raise ConfigError(
                f'A block of {x.block_size()[0]} x {x.block_size()[1]} positions cannot go through kernel {kernel}, stride {stride}, '
                f'padding {padding}{where()}: the output does not fall into equal blocks. Make the block size a multiple of '
                'the stride of the network, return fewer stages, or use a padding that keeps positions in place.'
            )
        pads += [before, max(reach - step - before, 0)]
        sizes.append(size // step)
    return tuple(pads), tuple(sizes)


def _whole_with_margin(x: BlockMap) -> Tensor:
    """The whole map, with zeros where hidden, and the margin that copies its border."""
    top, bottom, left, right = x.margin
    return functional.pad(x.dense(), (left, right, top, bottom), x.margin_value)


def _pooled_size(
    x: BlockMap, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], ceil_mode: bool
) -> tuple[int, ...]:
    """(H, W) that pooling the whole map gives."""
    sizes = []
    for size, k, step, p in zip(x.shape[2:], kernel, stride, padding, strict=True):
        room = size + 2 * p - k
        number = (-(-room // step) if ceil_mode else room // step) + 1
        sizes.append(
            number - 1 if ceil_mode and (number - 1) * step >= size + p else number
        )  # torch's: no window starts beyond the image
    return tuple(sizes)


def _fetch(x: BlockMap, pads: tuple[int, int, int, int], outside: float = 0.0) -> Tensor:
    return x.blocks.with_halo(x.stored, pads, outside) if any(pads) else x.stored


def _explicit_padding(
    padding: int | str | tuple[int, ...], kernel: tuple[int, int], dilation: tuple[int, int]
) -> tuple[tuple[int, int], ...]:
    """((top, bottom), (left, right)) of a convolution's `padding`."""
    if padding == 'valid':
        return (0, 0), (0, 0)
    if padding == 'same':
        spare = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return tuple((s // 2, s - s // 2) for s in spare)
    return tuple((p, p) for p in pair(padding))


@VISIBLE.add('conv2d')
@takes_margin
def conv2d(
    x: BlockMap,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | str | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> BlockMap:
    """A convolution: as it is where no output looks beyond its block, else on blocks with a halo."""
    need_channels_first(x, 'conv2d')
    if any(x.margin) and x.margin_value != 0:
        if isinstance(x.margin_value, str):
            return x.with_whole(
                functional.conv2d(_whole_with_margin(x), weight, bias, stride, padding, dilation, groups)
            )
        raise ConfigError(
            f'conv2d of a map that was padded with {x.margin_value}{where()}: hidden neighbours are zeros, so only zeros can '
            "be padded here. Pad with 0, or use path='masked'."
        )
    kernel, stride, dilation = tuple(weight.shape[2:]), pair(stride), pair(dilation)
    pads, _ = _window(x, kernel, stride, _explicit_padding(padding, kernel, dilation), dilation)
    values, weight, bias = in_autocast_dtype(x.stored, weight, bias)  # before blocks are fetched: half the traffic
    kept = x.rectified if values is x.stored and _unchanged(x, x.rectified) else None
    if not any(pads):
        return x.with_stored(block_conv.conv_inside(values, weight, bias, x.blocks, stride, dilation, groups, kept))
    if block_conv.prefers_whole_map(values, weight, groups, stride):
        return x.with_stored(block_conv.depthwise_on_whole_map(values, weight, bias, x.blocks, pads, dilation, groups))
    return x.with_stored(
        block_conv.conv_with_halo(values, weight, bias, x.blocks, pads, stride, dilation, groups, kept)
    )


@VISIBLE.add('relu')
def relu(x: BlockMap, inplace: bool = False) -> BlockMap:
    """max(x, 0). After a batch norm the result is not kept for gradients, see `norm_relu`."""
    if not _unchanged(x, x.normed):
        return x.with_stored(functional.relu(x.stored, inplace))
    rows, rectified = relu_rows(x.normed, inplace)
    out = x.with_positions(rows)
    out.rectified = rectified
    return out


@VISIBLE.add('relu_')
def relu_(x: BlockMap) -> BlockMap:
    """`relu` in place."""
    return relu(x, inplace=True)


def _unchanged(x: BlockMap, made: Normed | Rectified | None) -> bool:
    """Whether `x` holds what was `made`: nothing has been written into it since."""
    return made is not None and x.stored._version == made.version


@VISIBLE.add(large_kernel_conv2d)
def large_kernel(
    x: BlockMap, weight: Tensor, bias: Tensor | None = None, implementation: str | None = None
) -> BlockMap:
    """On the whole map with zeros where hidden, if the kernel is larger than a block; else as any convolution."""
    need_channels_first(x, 'large_kernel_conv2d')
    if not block_conv.prefers_whole_map(x.stored, weight, len(weight), (1, 1)):
        return conv2d(x, weight, bias, padding=(weight.shape[2] // 2, weight.shape[3] // 2), groups=len(weight))
    values, weight, bias = in_autocast_dtype(x.stored, weight, bias)
    return x.with_stored(x.blocks.gather(large_kernel_conv2d(x.blocks.scatter(values), weight, bias, implementation)))


@VISIBLE.add('linear')
def linear(x: BlockMap, weight: Tensor, bias: Tensor | None = None) -> BlockMap:
    """A linear layer on the channels, which must be the last axis."""
    need_channels_last(x, 'linear')
    return x.with_stored(block_conv.linear(x.stored, weight, bias))


@VISIBLE.add('max_pool2d')
@takes_margin
def max_pool2d(
    x: BlockMap,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> BlockMap:
    """Hidden neighbours take part as zeros, what lies beyond the image does not take part (as in SparK's public code)."""
    need_channels_first(x, 'max_pool2d')
    kernel, dilation = pair(kernel_size), pair(dilation)
    stride = kernel if stride is None or stride == [] else pair(stride)
    if return_indices:
        raise ConfigError(f'max_pool2d of a map cannot return indices{where()}.')
    padding = pair(padding)
    if isinstance(x.margin_value, str):
        return x.with_whole(functional.max_pool2d(_whole_with_margin(x), kernel, stride, padding, dilation, ceil_mode))
    if (
        not any(x.margin)
        and dilation == (1, 1)
        and not keeps_blocks(x, _pooled_size(x, kernel, stride, padding, ceil_mode), stride)
    ):
        return pooled_beyond_blocks(
            x,
            functional.max_pool2d(x.dense(), kernel, stride, padding, 1, ceil_mode),
            kernel,
            stride,
            padding,
            ceil_mode,
        )
    if any(x.margin) and any(padding):
        raise ConfigError(f'max_pool2d of a padded map cannot pad again{where()}.')
    outside = x.margin_value if any(x.margin) else float('-inf')
    pads, _ = _window(x, kernel, stride, tuple((p, p) for p in padding), dilation, ceil_mode)
    if any(x.margin) and _overhangs(x, pads, (0, 0)):
        raise ConfigError(
            f'max_pool2d of a padded map cannot look beyond its padding{where()}: pad more, or leave out ceil_mode.'
        )
    return x.with_stored(block_conv.max_pool(_fetch(x, pads, outside), kernel, stride, dilation))


@VISIBLE.add('avg_pool2d')
@takes_margin
def avg_pool2d(
    x: BlockMap,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> BlockMap:
    """Hidden neighbours take part as zeros and are counted (as in SparK's public code)."""
    need_channels_first(x, 'avg_pool2d')
    kernel, padding = pair(kernel_size), pair(padding)
    stride = kernel if stride is None or stride == [] else pair(stride)
    settings = kernel, stride, padding, ceil_mode
    if isinstance(x.margin_value, str):
        return x.with_whole(
            functional.avg_pool2d(_whole_with_margin(x), *settings, count_include_pad, divisor_override)
        )
    if not any(x.margin) and not keeps_blocks(x, _pooled_size(x, *settings), stride):
        whole = functional.avg_pool2d(x.dense(), *settings, count_include_pad, divisor_override)
        return pooled_beyond_blocks(x, whole, *settings)
    pads, _ = _window(x, kernel, stride, tuple((p, p) for p in padding), (1, 1), ceil_mode)
    overhangs = _overhangs(x, pads, padding)
    if any(x.margin) and x.margin_value != 0 and (any(padding) or overhangs):
        raise ConfigError(
            f'avg_pool2d of a map that was padded with {x.margin_value} cannot look beyond that padding{where()}: pad more, '
            'or leave out padding and ceil_mode.'
        )
    outside = x.margin_value if any(x.margin) else 0.0
    out = x.with_stored(
        functional.avg_pool2d(_fetch(x, pads, outside), kernel, stride, 0, divisor_override=divisor_override)
    )
    if divisor_override is None and (overhangs or (any(padding) and not count_include_pad)):
        # windows at the border count what lies inside of the image, its margin and, if asked for, the padding
        counted = functional.pad(
            x.new_ones((1, 1, *x.shape[2:])), (padding[1],) * 2 + (padding[0],) * 2, value=float(count_include_pad)
        )
        counts = functional.avg_pool2d(counted, kernel, stride, 0, ceil_mode, divisor_override=1)
        out = mul(out, counts.reciprocal() * (kernel[0] * kernel[1]))
    return out


def _overhangs(x: BlockMap, pads: tuple[int, int, int, int], padding: tuple[int, int]) -> bool:
    """Whether the last windows end beyond the image, its margin and the operation's own padding, as ceil_mode permits."""
    return any(pads[2 * axis + 1] > padding[axis] + x.margin[2 * axis + 1] for axis in (0, 1))


@VISIBLE.add('pad')
def pad(x: BlockMap, pad: tuple[int, ...], mode: str = 'constant', value: float | None = None) -> BlockMap:
    """Zeros, another value for a pooling, or a copy of the map's border, around the image; the next operation must use them up."""
    if mode not in PAD_MODES or len(pad) != 4 or x.axes != 'NCHW' or min(pad) < 0:
        raise ConfigError(
            f'A map (axes NCHW) can be padded in space only{where()}; got axes {x.axes}, pad={tuple(pad)}, '
            f'mode={mode!r}: {CONVOLUTIONS}.'
        )
    left, right, top, bottom = pad
    return x.with_margin(x.stored, (top, bottom, left, right), (value or 0.0) if mode == 'constant' else mode)


@VISIBLE.add(grn.global_response_norm)
def global_response_norm(x: BlockMap, gamma: Tensor, beta: Tensor, scope: str, eps: float) -> BlockMap:
    """Over the visible positions of each image, or of the batch."""
    if not block_grn.can_fuse(x.stored, x.axes):
        return grn.formula(x, gamma, beta, scope, eps)
    return x.with_stored(block_grn.normalised(x.stored, x.blocks, gamma, beta, scope, eps), clean=False)
