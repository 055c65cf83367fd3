"""What a step of distillation costs beside its parts: the student's own step, and the teacher's forward pass.

Three things take turns, so that whatever else the machine does meets all of them: a step of `Distill` (student and teacher forward, losses,
backward pass, optimizer), the same step with the teacher's answers ready, and the teacher's forward pass alone. The ratio of each turn is
whole / (step + teacher); what is reported is the median of each and the median ratio.

    python benchmarks/speed/distill.py --out benchmarks/results/speed/distill.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

LIMIT = 1.05
IMAGENET = {'mean': [0.485, 0.456, 0.406], 'std': [0.229, 0.224, 0.225]}
SMALL = {'type': 'ResNet', 'depth': 18, 'num_stages': 3, 'base_channels': 32, 'stem': 'cifar', 'out_indices': (3,)}
CASES: dict[str, dict[str, Any]] = {
    # name -> student, teacher, side of the view, images
    'ResNet-50 from ViT-S/14 with registers': {
        'backbone': {'type': 'ResNet', 'depth': 50, 'out_indices': (4,)},
        'teacher': {'model_name': 'vit_small_patch14_reg4_dinov2', 'projection': 'mlp'},
        'side': 224,
        'batch': 4,
    },
    'small ResNet-18 from ResNet-18': {
        'backbone': SMALL,
        'teacher': {'model_name': 'resnet18'},
        'side': 64,
        'batch': 32,
    },
}


def seconds(act: Callable[[], Any], device: str) -> float:
    """Of one call: of the clock on a GPU, of the processors on a CPU, which other work there does not change much."""
    import torch

    clock = time.perf_counter if device == 'cuda' else time.process_time
    start = clock()
    act()
    if device == 'cuda':
        torch.cuda.synchronize()
    return clock() - start


def acts(case: dict[str, Any], device: str) -> dict[str, Callable[[], Any]]:
    """The three things, ready to be called."""
    import torch

    import selfsup.models  # noqa: F401
    from selfsup.registry import MODELS

    torch.manual_seed(0)
    teacher = {'type': 'TIMMTeacher', 'pretrained': False, **case['teacher']}  # weights do not change the time
    model = MODELS.build(
        {'type': 'Distill', 'backbone': case['backbone'], 'teachers': [teacher], 'img_norm_cfg': IMAGENET}
    )
    model = model.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    img = torch.randn(case['batch'], 3, case['side'], case['side'], device=device)

    def step() -> None:
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = model({'img': img}).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def forward() -> Any:
        with torch.autocast(device, dtype=torch.bfloat16):
            return model.answer(0, img)

    answer, ask = forward(), model.answer

    def alone() -> None:
        model.answer = lambda number, img, idx=None: answer
        step()
        model.answer = ask

    return {'whole': step, 'step': alone, 'teacher': forward}


def measure(case: dict[str, Any], repeats: int, device: str) -> dict[str, Any]:
    """Medians in seconds, and the median ratio."""
    case = {**case, 'batch': case['batch'] * (16 if device == 'cuda' else 1)}
    things = acts(case, device)
    turns = [{name: seconds(act, device) for name, act in things.items()} for _ in range(repeats + 2)][2:]
    ratios = [turn['whole'] / (turn['step'] + turn['teacher']) for turn in turns]
    median = {name: statistics.median(turn[name] for turn in turns) for name in things}
    return {
        'batch': case['batch'],
        'side': case['side'],
        'seconds': {name: round(value, 5) for name, value in median.items()},
        'ratio': round(statistics.median(ratios), 4),
        'ratios': [round(ratio, 3) for ratio in ratios],
        'within': statistics.median(ratios) <= LIMIT,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeats', type=int, default=15, help='turns; two more come first')
    parser.add_argument('--out', type=Path, help='JSON file of the numbers')
    args = parser.parse_args()
    import torch

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    result = {
        'what': 'a step of distillation / (the same step with the answers ready + the forward pass of the teacher), bfloat16',
        'limit': LIMIT,
        'cases': {name: measure(case, args.repeats, device) for name, case in CASES.items()},
        'device': torch.cuda.get_device_name() if device == 'cuda' else 'cpu',
        'threads': torch.get_num_threads(),
        'machine': platform.machine(),
        'torch': torch.__version__,
    }
    text = json.dumps(result, indent=1) + '\n'
    if args.out:
        args.out.write_text(text)
    print(text)


if __name__ == '__main__':
    main()
