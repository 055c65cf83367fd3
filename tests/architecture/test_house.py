"""What the house looks like as a whole: no circles of files, no arrow that is allowed and unused, no crowded room."""

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.architecture.test_arrows import ALLOWED, FILES, PACKAGE, imports_of, room_of

MOST_FILES = 16  # beside each other in one folder
ONE_FILE_PER_METHOD = {'models/algorithms'}


def module_file(module: tuple[str, ...]) -> Path | None:
    """File of the longest prefix of a dotted name below `selfsup` that is a module; None for what is no module of ours."""
    for length in range(len(module), 0, -1):
        path = PACKAGE.joinpath(*module[1:length])
        for candidate in (path.with_suffix('.py'), path / '__init__.py'):
            if candidate.is_file():
                return candidate
    return None


def file_arrows() -> dict[Path, set[Path]]:
    """Which file of the package imports which, at any depth of its code: a circle hidden in a function is one too."""
    arrows: dict[Path, set[Path]] = {}
    for path in FILES:
        targets = {module_file(module) for module in imports_of(path) if module[0] == 'selfsup'}
        arrows[path] = {target for target in targets if target is not None and target != path}
    return arrows


def circle(arrows: dict[Path, set[Path]]) -> list[Path]:
    """Files that import each other in a loop, first and last the same; none of them where there is no loop."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_a_circle_of_files_is_seen():
    a, b, c = Path('a'), Path('b'), Path('c')
    assert circle({a: {b}, b: {c}, c: set()}) == []
    assert set(circle({a: {b}, b: {a, c}, c: set()})) == {a, b}
    assert set(circle({a: {b}, b: {c}, c: {a}})) == {a, b, c}


def test_no_files_import_each_other_in_a_circle():
    assert [str(path.relative_to(PACKAGE)) for path in circle(file_arrows())] == []


def test_no_arrow_is_allowed_and_unused():
    used = set()
    for path in FILES:
        room = room_of(path.relative_to(PACKAGE).with_suffix('').parts)
        used |= {(room, room_of(module[1:])) for module in imports_of(path) if module[0] == 'selfsup'}
    unused = {(room, target) for room, targets in ALLOWED.items() for target in targets if (room, target) not in used}
    assert unused == set()


def test_no_room_is_crowded():
    for folder in {path.parent for path in FILES}:
        room = folder.relative_to(PACKAGE).as_posix()
        files = len(list(folder.glob('*.py')))
        assert files <= MOST_FILES or room in ONE_FILE_PER_METHOD, f'{room} holds {files} files beside each other'


def test_every_room_has_an_entrance():
    """The docstring of its `__init__` says what a folder is for."""
    for folder in {path.parent for path in FILES}:
        text = (folder / '__init__.py').read_text()
        assert text.startswith('"""') and len(text.split('"""')[1].split()) >= 5, (
            f'{folder} does not say what it is for'
        )
