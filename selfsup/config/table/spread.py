"""Keys that say how a model is spread over processes and compiled, and what they stand for where something is left out. Data only."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from ...arguments import Positive
from .key import Key

DDP_DEFAULTS = MappingProxyType({'bucket_cap_mb': 25, 'gradient_as_bucket_view': False, 'compress': None})
FSDP_DEFAULTS = MappingProxyType({'reshard_after_forward': True})
COMPILE_DEFAULTS = MappingProxyType({'backend': 'inductor', 'mode': None, 'dynamic': False})

# fmt: off
SPREAD = (
    Key('ddp', dict | None, 'None', 'dict(bucket_cap_mb=100)', 'How processes that each hold the whole model average gradients; see '
        '`docs/scaling.md`.'),
    Key('ddp.bucket_cap_mb', Positive, '25', '100', 'Gradients travel in buckets of so many MB.'),
    Key('ddp.gradient_as_bucket_view', bool, 'False', 'True', 'Gradients lie in the buckets, which saves as much memory as they take.'),
    Key('ddp.compress', Literal['fp16', 'bf16'] | None, 'None', "'bf16'", 'Gradients travel in half precision: half the bytes, other '
        'weights.'),
    Key('fsdp', bool | dict | None, 'False', 'True', 'Deal weights, gradients and optimizer state out over the processes (FSDP2), for '
        'ConvNeXt V2-L and H. Checkpoints stay the same. One process has nothing to deal out.'),
    Key('fsdp.reshard_after_forward', bool, 'True', 'False', 'Give the weights of a block back between its two passes; False gathers '
        'them once per step instead of twice.'),
    Key('compile', bool | dict | None, 'False', 'True', 'torch.compile for the backbone; names in state dicts stay. Not for SparK and '
        'FCMAE.'),
    Key('compile.backend', Literal['inductor', 'cudagraphs', 'aot_eager', 'eager'], "'inductor'", "'aot_eager'", 'What compiles; '
        'inductor needs a C++ compiler on the CPU.'),
    Key('compile.mode', Literal['default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs'] | None, 'None',
        "'max-autotune'", 'What inductor optimises for.'),
    Key('compile.dynamic', bool | None, 'False', 'None', 'Compile for any batch size; False: for each size anew, so resumes are exact.'),
)
