"""Which implementation of `large_kernel_conv2d` is fastest on a CPU.

The rows are measurements of `benchmarks/speed/large_kernel.py` on 2 cores of an AMD EPYC (AVX-512) with torch 2.15; its
`--what table` writes them anew. GPUs have no rows: nothing has been measured there.
"""

from __future__ import annotations

# float32 (else half precision), with gradients, batch, side of the map, kernel height, kernel width (taps that touch the map), the fastest
ROWS = (
    (True, True, 64, 56, 51, 5, 'correlation'),
    (True, True, 64, 56, 5, 51, 'correlation'),
    (True, True, 64, 56, 5, 5, 'correlation'),
    (True, True, 64, 28, 49, 5, 'correlation'),
    (True, True, 64, 28, 5, 49, 'correlation'),
    (True, True, 64, 28, 5, 5, 'correlation'),
    (True, True, 64, 14, 27, 5, 'correlation'),
    (True, True, 64, 14, 5, 27, 'correlation'),
    (True, True, 64, 14, 5, 5, 'correlation'),
    (True, True, 64, 7, 13, 5, 'correlation'),
    (True, True, 64, 7, 5, 13, 'correlation'),
    (True, True, 64, 7, 5, 5, 'correlation'),
    (True, True, 8, 56, 51, 5, 'correlation'),
    (True, True, 8, 56, 5, 51, 'correlation'),
    (True, True, 8, 56, 5, 5, 'correlation'),
    (True, True, 8, 28, 49, 5, 'correlation'),
    (True, True, 8, 28, 5, 49, 'correlation'),
    (True, True, 8, 28, 5, 5, 'correlation'),
    (True, True, 8, 14, 27, 5, 'correlation'),
    (True, True, 8, 14, 5, 27, 'correlation'),
    (True, True, 8, 14, 5, 5, 'trimmed'),
    (True, True, 8, 7, 13, 5, 'correlation'),
    (True, True, 8, 7, 5, 13, 'correlation'),
    (True, True, 8, 7, 5, 5, 'trimmed'),
    (True, True, 1, 56, 51, 5, 'correlation'),
    (True, True, 1, 56, 5, 51, 'correlation'),
    (True, True, 1, 56, 5, 5, 'correlation'),
    (True, True, 1, 28, 49, 5, 'correlation'),
    (True, True, 1, 28, 5, 49, 'correlation'),
    (True, True, 1, 28, 5, 5, 'correlation'),
    (True, True, 1, 14, 27, 5, 'correlation'),
    (True, True, 1, 14, 5, 27, 'correlation'),
    (True, True, 1, 14, 5, 5, 'correlation'),
    (True, True, 1, 7, 13, 5, 'correlation'),
    (True, True, 1, 7, 5, 13, 'correlation'),
    (True, True, 1, 7, 5, 5, 'correlation'),
    (True, False, 64, 56, 51, 5, 'trimmed'),
    (True, False, 64, 56, 5, 51, 'trimmed'),
    (True, False, 64, 56, 5, 5, 'trimmed'),
    (True, False, 64, 28, 49, 5, 'native'),
    (True, False, 64, 28, 5, 49, 'trimmed'),
    (True, False, 64, 28, 5, 5, 'trimmed'),
    (True, False, 64, 14, 27, 5, 'trimmed'),
    (True, False, 64, 14, 5, 27, 'trimmed'),
    (True, False, 64, 14, 5, 5, 'trimmed'),
    (True, False, 64, 7, 13, 5, 'trimmed'),
    (True, False, 64, 7, 5, 13, 'trimmed'),
    (True, False, 64, 7, 5, 5, 'native'),
    (True, False, 8, 56, 51, 5, 'trimmed'),
    (True, False, 8, 56, 5, 51, 'trimmed'),
    (True, False, 8, 56, 5, 5, 'trimmed'),
    (True, False, 8, 28, 49, 5, 'trimmed'),
    (True, False, 8, 28, 5, 49, 'trimmed'),
    (True, False, 8, 28, 5, 5, 'trimmed'),
    (True, False, 8, 14, 27, 5, 'trimmed'),
    (True, False, 8, 14, 5, 27, 'trimmed'),
    (True, False, 8, 14, 5, 5, 'native'),
    (True, False, 8, 7, 13, 5, 'native'),
    (True, False, 8, 7, 5, 13, 'trimmed'),
    (True, False, 8, 7, 5, 5, 'native'),
    (True, False, 1, 56, 51, 5, 'trimmed'),
    (True, False, 1, 56, 5, 51, 'trimmed'),
    (True, False, 1, 56, 5, 5, 'native'),
    (True, False, 1, 28, 49, 5, 'trimmed'),
    (True, False, 1, 28, 5, 49, 'trimmed'),
    (True, False, 1, 28, 5, 5, 'native'),
    (True, False, 1, 14, 27, 5, 'native'),
    (True, False, 1, 14, 5, 27, 'native'),
    (True, False, 1, 14, 5, 5, 'native'),
    (True, False, 1, 7, 13, 5, 'native'),
    (True, False, 1, 7, 5, 13, 'native'),
    (True, False, 1, 7, 5, 5, 'native'),
    (False, True, 8, 56, 51, 5, 'correlation'),
    (False, True, 8, 56, 5, 51, 'correlation'),
    (False, True, 8, 56, 5, 5, 'correlation'),
    (False, True, 8, 28, 49, 5, 'correlation'),
    (False, True, 8, 28, 5, 49, 'correlation'),
    (False, True, 8, 28, 5, 5, 'correlation'),
    (False, True, 8, 14, 27, 5, 'correlation'),
    (False, True, 8, 14, 5, 27, 'correlation'),
    (False, True, 8, 14, 5, 5, 'correlation'),
    (False, True, 8, 7, 13, 5, 'correlation'),
    (False, True, 8, 7, 5, 13, 'correlation'),
    (False, True, 8, 7, 5, 5, 'correlation'),
    (False, False, 8, 56, 51, 5, 'trimmed'),
    (False, False, 8, 56, 5, 51, 'trimmed'),
    (False, False, 8, 56, 5, 5, 'trimmed'),
    (False, False, 8, 28, 49, 5, 'trimmed'),
    (False, False, 8, 28, 5, 49, 'trimmed'),
    (False, False, 8, 28, 5, 5, 'trimmed'),
    (False, False, 8, 14, 27, 5, 'native'),
    (False, False, 8, 14, 5, 27, 'trimmed'),
    (False, False, 8, 14, 5, 5, 'trimmed'),
    (False, False, 8, 7, 13, 5, 'native'),
    (False, False, 8, 7, 5, 13, 'trimmed'),
    (False, False, 8, 7, 5, 5, 'trimmed'),
)


def fastest_on_cpu(
    full_precision: bool, needs_grad: bool, batch: int, size: tuple[int, int], kernel: tuple[int, int]
) -> str:
    """Name of the implementation that is fastest for the measured shape nearest to this one, by ratios of its numbers.

    Args:
        full_precision: float32, not half precision; where one of the two has not been measured, the other counts.
        needs_grad: forward and backward count, not forward only.
        batch: B.
        size: (H, W) of the map.
        kernel: (kh, kw), the taps that can touch the map.
    """

    def distance(row: tuple) -> tuple[bool, float]:
        precision, _, images, side, height, width, _ = row
        ratios = (
            _ratio(images, batch)
            * _ratio(side * side, size[0] * size[1])
            * _ratio(height, kernel[0])
            * _ratio(width, kernel[1])
        )
        return precision != full_precision, ratios

    return min((row for row in ROWS if row[1] == needs_grad), key=distance)[-1]


def _ratio(a: int, b: int) -> float:
    return a / b if a > b else b / a
