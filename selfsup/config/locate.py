"""Where a config file says what: file and line of every nested key, and which top-level names are helpers.

The files are parsed with `ast`, not run: `dict(...)`, `{...}` and list displays are followed, helper variables by name,
`_base_` files as mmengine merges them. Where a value is computed in another way, its keys get the line of the statement.
"""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError

Place = tuple[str, int]


@dataclass
class Node:
    """Place of a value and of what is inside it."""

    place: Place
    children: dict[str, Node] = field(default_factory=dict)
    is_list: bool = False
    deletes: bool = False  # dict with _delete_=True

    def moved(self, place: Place) -> Node:
        """The same content under a key written at `place`."""
        return Node(place, self.children, self.is_list, self.deletes)


@dataclass
class FileFacts:
    """What one file (with its bases) says.

    Attributes:
        path: the file.
        tree: place of every top-level name after merging the bases.
        assigned: top-level names this file assigns -> line.
        bound: names this file binds otherwise (import, def, class, for, with): never config keys.
        loaded: names this file reads.
        base_names: names this file reads from its bases, as `_base_.name`.
        bases: facts of the base files.
    """

    path: str
    tree: dict[str, Node] = field(default_factory=dict)
    assigned: dict[str, int] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    loaded: set[str] = field(default_factory=set)
    base_names: set[str] = field(default_factory=set)
    bases: list[FileFacts] = field(default_factory=list)

    def chain(self) -> list[FileFacts]:
        """This file and all below it, bases first."""
        return [facts for base in self.bases for facts in base.chain()] + [self]


def display_path(path: str | os.PathLike) -> str:
    """`path` relative to the working directory when it lies in it, for messages."""
    absolute = Path(os.path.abspath(path))
    try:
        return absolute.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return absolute.as_posix()


def merge(over: dict[str, Node], base: dict[str, Node]) -> dict[str, Node]:
    """Places after mmengine merged the values of `over` into those of `base`."""
    merged = dict(base)
    for key, node in over.items():
        old = base.get(key)
        if old is None or node.deletes or node.is_list or old.is_list or not node.children:
            merged[key] = node
        else:
            merged[key] = Node(node.place, merge(node.children, old.children))
    return merged


def read(path: str | os.PathLike, above: tuple[str, ...] = ()) -> FileFacts:
    """Facts of a config file and of the files it is based on.

    Args:
        path: the file.
        above: the files that it is a base of.

    Raises:
        SyntaxError: the file is no Python.
        OSError: it cannot be read.
        ConfigError: a base file does not exist, or the file is based on itself.
    """
    path = os.path.abspath(path)
    text = Path(path).read_text(encoding='utf-8')
    # '{{$NAME:default}}', mmengine's way to read the environment, is no Python outside quotes
    module = ast.parse(re.sub(r'\{\{\s*\$[^}]*\}\}', 'None', text), filename=path)
    facts = FileFacts(path, base_names=set(re.findall(r"""\b_base_(?:\.|\[['"])(\w+)""", text)))
    base_tree: dict[str, Node] = {}
    for line, base in _base_files(module, path):
        if not os.path.isfile(base):
            raise ConfigError(f"{display_path(path)}:{line}: its _base_ '{display_path(base)}' does not exist.")
        if os.path.abspath(base) in (*above, path):
            raise ConfigError(
                f"{display_path(path)}:{line}: its _base_ '{display_path(base)}' is based on it in turn. Break the circle."
            )
        facts.bases.append(read(base, (*above, path)))
        base_tree.update(facts.bases[-1].tree)
    reader = _Reader(facts, base_tree)
    reader.statements(module.body)
    facts.tree = merge(reader.names, base_tree)
    for node in ast.walk(module):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            facts.loaded.add(node.id)
    return facts


def _base_files(module: ast.Module, path: str) -> list[tuple[int, str]]:
    """(line, path) of each base file."""
    for statement in module.body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == '_base_' for t in statement.targets
        ):
            try:
                named = ast.literal_eval(statement.value)
            except ValueError:
                return []
            named = list(named) if isinstance(named, (list, tuple)) else [named]
            if not all(isinstance(n, str) for n in named):
                raise ConfigError(
                    f'{display_path(path)}:{statement.lineno}: _base_={named!r} must be a path or a list of paths.'
                )
            return [(statement.lineno, os.path.join(os.path.dirname(path), n)) for n in named if '::' not in n]
    return []


def flatten(tree: dict[str, Node], prefix: str = '') -> dict[str, Place]:
    """`{'model.backbone.type': (file, line), ...}`; list items under their index."""
    places = {}
    for key, node in tree.items():
        places[prefix + key] = node.place
        places.update(flatten(node.children, f'{prefix}{key}.'))
    return places


class _Reader:
    """Reads the statements of one file in order; `names` maps its top-level names to nodes."""

    def __init__(self, facts: FileFacts, base_tree: dict[str, Node]) -> None:
        self.facts = facts
        self.base_tree = base_tree
        self.names: dict[str, Node] = {}

    def statements(self, body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    self.assign(target, node.value)
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                self.extend(self.names.get(node.target.id), node.value)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                self.method(node.value)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                self.facts.bound |= {(a.asname or a.name).split('.')[0] for a in node.names}
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                self.facts.bound.add(node.name)
            elif isinstance(node, (ast.If, ast.For, ast.While, ast.With, ast.Try)):
                if isinstance(node, ast.For):
                    self.facts.bound |= {n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)}
                self.statements(node.body)
                self.statements(getattr(node, 'orelse', []))

    def assign(self, target: ast.expr, value: ast.expr) -> None:
        """`name = value`, `a, b = ...` or `name['key']['key'] = value`."""
        place = self.place(target)
        if isinstance(target, ast.Name):
            self.names[target.id] = self.value(value).moved(place)
            self.facts.assigned[target.id] = place[1]
        elif isinstance(target, (ast.Tuple, ast.List)):
            for i, part in enumerate(target.elts):
                values = (
                    value.elts
                    if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts)
                    else None
                )
                self.assign(part, values[i] if values else value)
        elif isinstance(target, (ast.Subscript, ast.Attribute)):
            parent, key = self.follow(target.value), _key(target)
            if parent is not None and key is not None:
                parent.children[key] = self.value(value).moved(place)

    def method(self, call: ast.Call) -> None:
        """`name.update(...)`, `name.append(x)`, `name.extend([...])`."""
        if not isinstance(call.func, ast.Attribute):
            return
        owner = self.follow(call.func.value)
        if owner is None:
            return
        if call.func.attr == 'update':
            owner.children.update(self.call_dict(call).children)
        elif call.func.attr == 'append' and call.args:
            owner.children[str(len(owner.children))] = self.value(call.args[0])
        elif call.func.attr == 'extend' and call.args:
            self.extend(owner, call.args[0])

    def extend(self, owner: Node | None, value: ast.expr) -> None:
        if owner is not None and owner.is_list:
            start = len(owner.children)
            owner.children.update({str(start + i): n for i, n in enumerate(self.value(value).children.values())})

    def place(self, node: ast.expr | ast.stmt | ast.keyword) -> Place:
        return self.facts.path, node.lineno

    def follow(self, node: ast.expr) -> Node | None:
        """The node that `name`, `name['key'].key` or `_base_.name.key` stands for."""
        if isinstance(node, ast.Name):
            return Node(self.place(node), self.base_tree) if node.id == '_base_' else self.names.get(node.id)
        if isinstance(node, (ast.Subscript, ast.Attribute)):
            parent, key = self.follow(node.value), _key(node)
            return parent.children.get(key) if parent is not None and key is not None else None
        return None

    def value(self, node: ast.expr) -> Node:
        """Places inside an expression."""
        if isinstance(node, ast.Dict):
            return self.display_dict(node)
        if isinstance(node, (ast.List, ast.Tuple)):
            return self.display_list(node)
        if isinstance(node, ast.Set) and len(node.elts) == 1:  # {{_base_.name}}
            inner = node.elts[0]
            return self.value(inner.elts[0] if isinstance(inner, ast.Set) and inner.elts else inner)
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, 'attr', '')
            if name == 'dict':
                return self.call_dict(node)
            if name in ('deepcopy', 'copy', 'list', 'tuple'):
                source = node.args[0] if node.args else getattr(node.func, 'value', None)
                return self.value(source) if source is not None else Node(self.place(node))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self.value(node.left), self.value(node.right)
            items = [*left.children.values(), *right.children.values()]
            return Node(self.place(node), {str(i): n for i, n in enumerate(items)}, is_list=True)
        target = self.follow(node)
        return target.moved(target.place) if target is not None else Node(self.place(node))

    def display_list(self, node: ast.List | ast.Tuple) -> Node:
        items: list[Node] = []
        for element in node.elts:
            if isinstance(element, ast.Starred):
                items += self.value(element.value).children.values()
            else:
                items.append(self.value(element))
        return Node(self.place(node), {str(i): n for i, n in enumerate(items)}, is_list=True)

    def display_dict(self, node: ast.Dict) -> Node:
        result = Node(self.place(node))
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                result.children.update(self.value(value).children)
            elif isinstance(key, ast.Constant):
                self.add(result, str(key.value), value, self.place(key))
        return result

    def call_dict(self, node: ast.Call) -> Node:
        result = Node(self.place(node))
        for argument in node.args:
            result.children.update(self.value(argument).children)
        for keyword in node.keywords:
            if keyword.arg is None:
                result.children.update(self.value(keyword.value).children)
            else:
                self.add(result, keyword.arg, keyword.value, self.place(keyword))
        return result

    def add(self, owner: Node, key: str, value: ast.expr, place: Place) -> None:
        if key == '_delete_':
            owner.deletes = isinstance(value, ast.Constant) and bool(value.value)
        else:
            owner.children[key] = self.value(value).moved(place)


def _key(node: ast.Subscript | ast.Attribute) -> str | None:
    """'b' of `a.b`, `a['b']`, '0' of `a[0]`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return str(node.slice.value) if isinstance(node.slice, ast.Constant) else None
