"""200 damaged, edited and made-up checkpoint files, the same for the same seed. Each comes as (name, path, must be refused by)."""

from __future__ import annotations

import copy
import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

SEED = 20
WAYS = ('resume', 'pretrained', 'extract', 'publish')
NONE, RESUME, ALL = (), ('resume',), WAYS
Case = tuple[str, Path, tuple[str, ...]]


class Payload:
    """Unpickling this makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def damaged(good: Path, folder: Path) -> Iterator[Case]:
    """Bytes: flips, holes, cuts, exchanged blocks, other archives."""
    content, rng = good.read_bytes(), random.Random(SEED)
    with zipfile.ZipFile(good) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
        data = [info.header_offset for info in archive.infolist() if '/data/' in info.filename]

    def write(name: str, changed: bytes) -> Path:
        path = folder / f'{name}.pth'
        path.write_bytes(changed)
        return path

    for number in range(40):
        changed = bytearray(content)
        at = rng.randrange(len(changed))
        changed[at] ^= 1 << rng.randrange(8)
        yield f'flip {number} at {at}', write(f'flip_{number}', changed), NONE  # in padding it changes nothing
    for number in range(10):
        at = rng.randrange(data[0], data[-1] - 4096)
        yield f'hole {number} at {at}', write(f'hole_{number}', content[:at] + bytes(4096) + content[at + 4096 :]), ALL
    for number in range(10):
        at = rng.randrange(1, len(content))
        yield f'cut {number} to {at}', write(f'cut_{number}', content[:at]), ALL
    for number in range(4):
        one, other = sorted(rng.sample(range(data[1], data[-1] - 512), 2))
        parts = bytearray(content)
        parts[one : one + 64], parts[other : other + 64] = content[other : other + 64], content[one : one + 64]
        yield f'exchange {number}', write(f'exchange_{number}', parts), NONE
    yield 'twice', write('twice', content + content), NONE
    yield 'text behind', write('behind', content + b'more'), NONE
    yield 'text before', write('before', b'more' + content), ALL
    for name, changed in (
        ('text', b'hello\n'),
        ('page', b'<html>404</html>'),
        ('zeros', bytes(9000)),
        ('noise', rng.randbytes(9000)),
        ('picture', b'\x89PNG\r\n\x1a\n' + rng.randbytes(500)),
        ('empty', b''),
        ('byte', b'P'),
        ('PK', b'PK\x03\x04'),
    ):
        yield name, write(name, changed), ALL
    head = next(iter(records)).split('/')[0]
    for name, kept, method, refused in (
        ('no data.pkl', {k: v for k, v in records.items() if not k.endswith('data.pkl')}, zipfile.ZIP_STORED, ALL),
        ('no tensors', {k: v for k, v in records.items() if '/data/' not in k}, zipfile.ZIP_STORED, ALL),
        (
            'short record',
            {k: v[:-4] if k.endswith('/data/1') else v for k, v in records.items()},
            zipfile.ZIP_STORED,
            ALL,
        ),
        ('packed', records, zipfile.ZIP_DEFLATED, NONE),
        ('bomb', {**records, f'{head}/data/0': bytes(1 << 22)}, zipfile.ZIP_DEFLATED, ALL),
        ('other zip', {'readme.txt': b'hello'}, zipfile.ZIP_STORED, ALL),
        ('no records', {}, zipfile.ZIP_STORED, ALL),
    ):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, 'w', method) as archive:
            for record, value in kept.items():
                archive.writestr(record, value)
        yield name, write(name.replace(' ', '_').replace('.', '_'), packed.getvalue()), refused


def places(good: Path, folder: Path) -> Iterator[Case]:
    """Names that are no files, or unusual names of good ones."""
    os.mkfifo(folder / 'pipe.pth')
    (folder / 'dangling.pth').symlink_to('nowhere.pth')
    (folder / 'loop.pth').symlink_to('loop.pth')
    (folder / 'folder.pth').mkdir()
    for name in ('pipe', 'dangling', 'loop', 'folder', 'missing'):
        yield name, folder / f'{name}.pth', ALL
    yield 'device', Path('/dev/zero'), ALL
    yield 'name with a zero', Path(f'{folder}/a\0b.pth'), ALL
    yield 'very long name', folder / ('x' * 300), ALL
    yield 'below a file', good / 'x.pth', ALL
    for name in (os.fsdecode(b'caf\xe9.pth'), 'two words.pth', 'ä.pth'):
        (folder / name).symlink_to(good)
        yield ascii(name), folder / name, NONE


def made_up(good: Path, folder: Path) -> Iterator[Case]:
    """Whole files whose content is not what a run writes; pickles that ask for code."""
    whole = torch.load(good, weights_only=True)
    numbered = iter(range(10_000))

    def write(content: Any, **how: Any) -> Path:
        path = folder / f'made_{next(numbered)}.pth'
        torch.save(content, path, **how)
        return path

    for name, change, refused in (*_weights(), *_meta(), *_optimizer(), *_beside()):
        content = copy.deepcopy(whole)
        content = change(content) or content
        yield name, write(content), refused
    for name, content in (
        ('a list', [whole]),
        ('a number', 3),
        ('a tensor', torch.ones(3)),
        ('nothing', None),
        ('empty dict', {}),
        ('dict of numbers', {'a': 1, 'b': 2.5}),
        ('dict of dicts', {'state_dict': {}, 'meta': {}, 'optimizer': {}}),
    ):
        yield name, write(content), ALL
    for new in (True, False):
        yield (
            f'code, zip {new}',
            write({**whole, 'meta': Payload(folder / 'ran')}, _use_new_zipfile_serialization=new),
            ALL,
        )
        yield (
            f'module, zip {new}',
            write({**whole, 'x': torch.nn.Linear(1, 1)}, _use_new_zipfile_serialization=new),
            ALL,
        )
    old = write(whole, _use_new_zipfile_serialization=False)
    yield 'format before 1.6', old, NONE
    content = old.read_bytes()
    for share in (0.1, 0.5, 0.99):
        path = folder / f'old_{share}.pth'
        path.write_bytes(content[: int(len(content) * share)])
        yield f'format before 1.6, cut to {share}', path, ALL
    for protocol in (0, 2, 4):
        (folder / f'bare_{protocol}.pth').write_bytes(pickle.dumps(Payload(folder / 'ran'), protocol=protocol))
        yield f'bare pickle {protocol}', folder / f'bare_{protocol}.pth', ALL


Change = tuple[str, Callable[[dict], Any], tuple[str, ...]]
BACKBONE = 'backbone.layer2.0.conv1.weight'


def _set(part: str, name: Any, value: Any) -> Callable[[dict], None]:
    """Put a value, or what a function makes of the old one, under `name` of an entry; `part` may be dotted."""

    def change(content: dict) -> None:
        where = content
        for key in part.split('.') if part else ():
            where = where[int(key) if isinstance(where, list) or (key.isdigit() and key not in where) else key]
        where[name] = value(where[name]) if callable(value) else value

    return change


def _drop(part: str, name: Any) -> Callable[[dict], None]:
    def change(content: dict) -> None:
        where = content
        for key in part.split('.') if part else ():
            where = where[int(key) if isinstance(where, list) or (key.isdigit() and key not in where) else key]
        del where[name]

    return change


def _filled(number: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def fill(value: torch.Tensor) -> torch.Tensor:
        value.view(-1)[0] = number
        return value

    return fill


def _weights() -> Iterator[Change]:
    inside = 'state_dict'
    for name, value in (
        ('sparse', torch.Tensor.to_sparse),
        ('without numbers', lambda v: v.to('meta')),
        ('int8', lambda v: v.to(torch.int8)),
        ('complex', lambda v: v.to(torch.complex64)),
        ('bool', lambda v: v.bool()),
        ('a string', 'x'),
        ('a list', [1.0, 2.0]),
        ('a number', 3),
        ('nothing', None),
        ('a dict', {'a': torch.ones(1)}),
        ('NaN', _filled(float('nan'))),
        ('inf', _filled(float('inf'))),
        ('-inf', _filled(float('-inf'))),
        ('quantized', lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8)),
        ('endless', lambda v: torch.zeros(1).expand(10**9)),
    ):
        yield f'a weight is {name}', _set(inside, BACKBONE, value), ALL
    for name, value in (
        ('shorter', lambda v: v[:-1]),
        ('of no size', lambda v: v[:0]),
        ('a scalar', lambda v: v.sum()),
        ('turned', lambda v: v.flatten()),
    ):
        yield f'a weight is {name}', _set(inside, BACKBONE, value), ('resume', 'pretrained')
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        yield f'a weight is {dtype}', _set(inside, BACKBONE, lambda v, dtype=dtype: v.to(dtype)), NONE
    for name in (3, None, 'a\nb', 'x' * 5000, ('a', 'b')):
        yield f'a weight is called {name!r:.20}', _set(inside, name, torch.ones(2)), ALL
    yield 'an extra weight', _set(inside, 'extra.weight', torch.ones(2)), RESUME
    yield 'a weight twice', lambda c: c['state_dict'].update({f'module.{BACKBONE}': torch.ones(2)}), ALL
    for name in (BACKBONE, 'neck.mlp.0.weight', 'queue', 'queue_ptr', 'backbone.bn1.running_mean'):
        yield f'{name} is missing', _drop(inside, name), RESUME
    for name in ('queue', 'key_backbone.conv1.weight', 'neck.mlp.2.bias', 'backbone.bn1.running_var'):
        yield f'{name} is NaN', _set(inside, name, _filled(float('nan'))), ALL
    yield 'a negative variance', _set(inside, 'backbone.bn1.running_var', _filled(-1.0)), ALL
    for number in (-1, 22, 10**12):
        yield f'queue_ptr is {number}', _set(inside, 'queue_ptr', torch.tensor([number])), RESUME
    yield 'queue_ptr is 0.5', _set(inside, 'queue_ptr', torch.tensor([0.5])), RESUME
    for value in ([], 'x', None, 7, {}, torch.ones(2)):
        yield f'state_dict is {value!r}', _set('', 'state_dict', value), ALL if isinstance(value, dict) else WAYS[:3]
    yield 'no state_dict', _drop('', 'state_dict'), WAYS[:3]


def _meta() -> Iterator[Change]:
    for value in ([], ['epoch', 1], 'x', None, 3, torch.ones(1)):
        yield f'meta is {value!r}', _set('', 'meta', value), RESUME
    yield 'no meta', _drop('', 'meta'), RESUME
    for key in ('iter', 'epoch'):
        for value in (-1, 'x', 2.5, float('nan'), None, True, 10**30, [1], torch.tensor(3)):
            yield f'{key} is {value!r}', _set('meta', key, value), RESUME
        yield f'no {key}', _drop('meta', key), RESUME
    yield 'another epoch', _set('meta', 'epoch', 40), RESUME
    for value in ('x', [], None, torch.ones(1)):
        yield f'fingerprint is {value!r}', _set('meta', 'fingerprint', value), RESUME
    for key, value in (
        ('seed', 'x'),
        ('seed', -1),
        ('seed', 2.5),
        ('iters_per_epoch', 0),
        ('iters_per_epoch', 'x'),
        ('batch_size', None),
        ('world_size', 0),
        ('sampler', torch.ones(2)),
        ('sampler', 'x'),
        ('optimizer', 'SGD'),
        ('dataset_length', 10**40),
    ):
        yield f'fingerprint.{key} is {value!r}', _set('meta.fingerprint', key, value), RESUME
    for value in (7, ['x'], {'a': 1}):
        yield f'config is {value!r}', _set('meta', 'config', value), NONE
    yield 'deep meta', lambda c: c['meta'].update(deep=_deep(90)), ALL
    yield 'very deep meta', lambda c: c.update(deep=_deep(120)), ALL
    yield 'meta holds itself', lambda c: c['meta'].update(meta=c['meta']), NONE
    yield 'names that are no text', lambda c: c.update({1: 2, None: 3, (1, 2): 4}), NONE


def _deep(levels: int) -> dict:
    inner: dict = {}
    for _ in range(levels):
        inner = {'a': inner}
    return inner


def _optimizer() -> Iterator[Change]:
    yield 'no optimizer', _drop('', 'optimizer'), RESUME
    for value in (
        [],
        {},
        None,
        'x',
        {'state': {}},
        {'param_groups': [], 'state': {}},
        {'param_groups': [1], 'state': {}},
    ):
        yield f'optimizer is {value!r}', _set('', 'optimizer', value), RESUME
    for value in ([], None, {0: 3}, {'x': {}}, {99999: {}}):
        yield f'optimizer.state is {value!r}', _set('optimizer', 'state', value), RESUME
    for key, value in (
        ('exp_avg', lambda v: v[:1]),
        ('exp_avg', _filled(float('nan'))),
        ('exp_avg_sq', 'x'),
        ('exp_avg_sq', torch.ones(3)),
        ('step', torch.tensor(float('nan'))),
        ('step', 'x'),
        ('step', -1),
        ('step', torch.ones(4)),
    ):
        yield f'optimizer: {key} {value!r:.20}', _set('optimizer.state.3', key, value), RESUME
    for key in ('step', 'exp_avg', 'exp_avg_sq'):
        yield f'optimizer: no {key}', _drop('optimizer.state.3', key), RESUME
    for key, value in (
        ('lr', 'x'),
        ('lr', float('nan')),
        ('lr', None),
        ('betas', (0.9,)),
        ('betas', 0.9),
        ('weight_decay', []),
        ('params', []),
        ('params', lambda v: [0] * len(v)),
        ('params', lambda v: v[:-1]),
        ('eps', float('inf')),
        ('params', 'x'),
    ):
        yield f'optimizer: {key} is {value!r:.20}', _set('optimizer.param_groups.0', key, value), RESUME
    yield 'optimizer: no lr', _drop('optimizer.param_groups.0', 'lr'), RESUME


def _beside() -> Iterator[Change]:
    for value in (
        None,
        [],
        {},
        'x',
        [1],
        [{}],
        [{'a': 1}],
        [{'last_step': 3}],
        [{'last_step': 'x', '_global_step': 6}],
        [{'last_step': 999, '_global_step': 999}],
        [{'last_step': float('nan'), '_global_step': 6}],
    ):
        yield f'schedules are {value!r}', _set('', 'param_schedulers', value), RESUME
    for value in (None, [], 'x', {}, {'steps': 3}, {'steps': 3, 'state_dict': []}):
        yield f'average is {value!r}', _set('', 'ema', value), RESUME
    yield 'no average', _drop('', 'ema'), RESUME
    for value in (-1, 'x', 1.5, None):
        yield f'average: steps is {value!r}', _set('ema', 'steps', value), RESUME
    for value in (_filled(float('nan')), lambda v: v[:1], 'x', torch.Tensor.int):
        yield f'average: a weight is {value!r:.20}', _set('ema.state_dict', BACKBONE, value), RESUME
    yield 'average: a weight is missing', _drop('ema.state_dict', BACKBONE), RESUME


GROUPS = {'damaged': damaged, 'places': places, 'made_up': made_up}
