"""The rooms of docs/architecture.md: who may import whom, how large a file may be, what is run at import."""

import ast
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'selfsup'
LEAVES = {
    'arguments',
    'contracts',
    'errors',
    'hints',
    'machine',
    'registry',
    'distributed',
    'cli',
    'files',
    'heartbeat',
    'prefetch',
    'provenance',
}
# room -> rooms it may import besides itself and the leaves
ALLOWED = {
    'models/large_kernel': set(),
    'models/layers': {'models/large_kernel'},
    'models/visible': {'models/large_kernel', 'models/layers'},
    'models/backbones': {'models/large_kernel', 'models/layers'},
    'models/necks': {'models/layers', 'models/visible'},
    'models/heads': {'models/layers'},
    'models/memories': {'models/layers'},
    'models/teachers': {'models/backbones', 'models/layers', 'weights'},
    'models/algorithms': {'models/layers', 'models/teachers', 'models/visible'},
    'datasets': set(),
    'optim': set(),
    'visualization': set(),
    'cluster': set(),
    'config': {'optim'},
    'foreign': {'config'},
    'evaluation': {'datasets', 'models/layers', 'optim'},
    'weights': {'models/backbones'},
    'engine': {'cluster', 'config', 'datasets', 'models/algorithms', 'optim', 'weights'},
    'hooks': {'evaluation', 'engine', 'datasets', 'optim', 'visualization', 'weights'},
    'protocols': {'cluster', 'config', 'datasets', 'engine', 'evaluation', 'optim', 'visualization', 'weights'},
}
# files that stand where something documented has moved from, and pass it on
FORWARDS = {'models/layers/visible.py': 'models/visible'}
MMENGINE_ROOMS = {'registry', 'config', 'engine', 'hooks'}
FILES = sorted(PACKAGE.rglob('*.py'))


def room_of(parts: tuple[str, ...]) -> str:
    """Room of a module path below the package: ('models', 'layers', 'norm') -> 'models/layers'."""
    if not parts:
        return ''
    if parts[0] in LEAVES:
        return parts[0]
    if parts[0] == 'models' and len(parts) > 1 and (PACKAGE / 'models' / parts[1]).is_dir():
        return f'models/{parts[1]}'
    return parts[0]


def imports_of(path: Path) -> list[tuple[str, ...]]:
    """Absolute dotted imports of a file, as tuples; relative ones resolved."""
    package = ('selfsup', *path.relative_to(PACKAGE).parts[:-1])
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [tuple(a.name.split('.')) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = base + tuple((node.module or '').split('.') if node.module else ())
            found += [(*module, a.name) for a in node.names]
    return found


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(path):
    here = path.relative_to(PACKAGE)
    room = room_of(tuple(here.with_suffix('').parts))
    for module in imports_of(path):
        if module[0] == 'mmengine':
            assert room in MMENGINE_ROOMS, f'{here} imports mmengine'
        assert module[0] not in ('tools', 'benchmarks', 'tests', 'configs'), f'{here} imports {module}'
        if module[0] != 'selfsup' or len(module) == 1:
            continue
        target = room_of(module[1:])
        if target in (room, FORWARDS.get(str(here))) or target in LEAVES or module[1:] == ('__version__',):
            continue
        assert room not in LEAVES, f'the leaf {here} imports {target}'
        assert room in ALLOWED, f'{here} lies in no room of docs/architecture.md'
        assert target in ALLOWED[room], f'{here} ({room}) must not import {target}'


def test_the_reader_of_imports_sees_relative_and_absolute_ones():
    found = imports_of(PACKAGE / 'engine' / 'runner.py')
    assert ('selfsup', 'errors', 'ConfigError') in found
    assert ('mmengine', 'runner', 'Runner') in found


def test_no_algorithm_imports_another():
    for path in (PACKAGE / 'models' / 'algorithms').glob('*.py'):
        if path.stem in ('__init__', 'base'):
            continue
        for module in imports_of(path):
            if module[:3] == ('selfsup', 'models', 'algorithms'):
                assert module[3] in ('base', 'views'), f'{path.name} imports {module}'


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_stay_readable(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400, f'{path} is longer than 400 lines'
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            doc = ast.get_docstring(node, clean=False)
            length = node.end_lineno - node.lineno + 1 - (doc.count('\n') + 1 if doc else 0)
            assert length <= 60, f'{path}:{node.lineno} {node.name} has {length} lines'


@pytest.mark.parametrize('path', sorted((ROOT / 'tools').glob('*.py')), ids=lambda p: p.name)
def test_tools_are_short(path):
    assert len(path.read_text().splitlines()) <= 80


def test_no_mutable_state_at_module_level():
    """Registries and loggers apart, a module holds constants only."""
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(
                node.value, (ast.List, ast.ListComp, ast.Set)
            ):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                assert getattr(target, 'id', '') == '__all__', f'{path}:{node.lineno} keeps a mutable list or set'
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                assert not any(isinstance(n, ast.Global) for n in ast.walk(node)), f'{path}:{node.lineno} uses global'


def test_nothing_names_what_users_do_not_have():
    """The package must not need, or speak of, anything outside the repository."""
    words = ('/work/', '../shared', 'shared/golden', 'shared/spec')
    for folder in ('selfsup', 'configs', 'tools', 'benchmarks', 'docs', 'tests'):
        for path in (ROOT / folder).rglob('*'):
            if path.suffix in ('.py', '.md', '.sh', '.json') and path != Path(__file__):
                text = path.read_text()
                assert not [w for w in words if w in text], path


def test_the_package_is_found_where_it_is_tested():
    assert Path(importlib.util.find_spec('selfsup').origin).resolve() == (PACKAGE / '__init__.py').resolve()
