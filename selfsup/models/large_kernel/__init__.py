"""Depthwise convolutions with large kernels (SLaK, RepLKNet), computed in the way that is fast for their shape.

    large_kernel_conv2d(x, weight, bias)                           equals F.conv2d with zeros around the map
            |
         choose: a gradient is needed?  GPU?  float64?
            |
      'native'       'trimmed'               'correlation'                  'band'
      torch's own    without the taps that   trimmed, and both gradients    products with band matrices,
                     see padding only        are convolutions, too          for tensor cores (`band.py`)

Start reading in `conv.py`; `operands.py` says in which dtype and memory layout operands go into a convolution. A new way to compute is one
more function in `conv.IMPLEMENTATIONS` and, if it is to be taken by itself, a line in `conv.choose`; `benchmarks/speed/large_kernel.py`
measures all of them for the shapes of SLaK. The room stands below `layers` and imports none of our modules but the errors.
"""

from .conv import LargeKernelConv2d, large_kernel_conv2d

__all__ = ['LargeKernelConv2d', 'large_kernel_conv2d']
