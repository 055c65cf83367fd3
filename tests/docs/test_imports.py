"""What the pages import from the package is there to be imported."""

import ast
import importlib

import pytest

from .pages import PAGES, ROOT, blocks

IMPORTED = sorted(
    {
        (str(page.relative_to(ROOT)), node.module, name.name)
        for page in PAGES
        for block in blocks(page, 'python')
        for node in ast.walk(ast.parse(block.text))
        if isinstance(node, ast.ImportFrom) and not node.level and str(node.module).startswith('selfsup')
        for name in node.names
    }
)


@pytest.mark.parametrize(('page', 'module', 'name'), IMPORTED)
def test_a_documented_import_works(page, module, name):
    if not hasattr(importlib.import_module(module), name):
        importlib.import_module(f'{module}.{name}')
