"""Which implementation of `large_kernel_conv2d` is fastest on a CPU: written by `benchmarks/speed/large_kernel.py --table`, do not edit."""

from __future__ import annotations


def fastest_on_cpu(full_precision: bool, needs_grad: bool, batch: int, size: tuple[int, int], kernel: tuple[int, int]) -> str:
    return 'correlation' if needs_grad else 'trimmed'
