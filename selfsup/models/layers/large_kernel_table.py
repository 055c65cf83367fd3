"""Which implementation of `large_kernel_conv2d` is fastest on a CPU.

The rows are measurements of `benchmarks/speed/large_kernel.py` on 2 cores of an AMD EPYC (AVX-512) with torch 2.15; its
`--what table` writes them anew. GPUs have no rows: nothing has been measured there.
"""

from __future__ import annotations

# float32 (else half precision), with gradients, batch, side of the map, kernel height, kernel width (taps that touch the map), the fastest
ROWS = (
)


def fastest_on_cpu(full_precision: bool, needs_grad: bool, batch: int, size: tuple[int, int], kernel: tuple[int, int]) -> str:
    """Name of the implementation that is fastest for the measured shape nearest to this one, by ratios of its numbers.

    Args:
        full_precision: float32, not half precision.
        needs_grad: forward and backward count, not forward only.
        batch: B.
        size: (H, W) of the map.
        kernel: (kh, kw), the taps that can touch the map.
    """
    def distance(row: tuple) -> float:
        _, _, images, side, height, width, _ = row
        return _ratio(images, batch) * _ratio(side * side, size[0] * size[1]) * _ratio(height, kernel[0]) * _ratio(width, kernel[1])
    return min((row for row in ROWS if row[:2] == (full_precision, needs_grad)), key=distance)[-1]


def _ratio(a: int, b: int) -> float:
    return a / b if a > b else b / a
