"""The pages for those who carry on the work name files and folders that exist."""

import re

import pytest

from .pages import ROOT

FILE = re.compile(r'(?<![\w*>/.-])[\w/.-]*\w\.py\b')
FOLDER = re.compile(r'`([\w/]+/)[\w*.]*`')


def names(page):
    """Every `something.py` and every `folder/` that the page names; not `*.py`, which stands for several."""
    text = (ROOT / page).read_text()
    return sorted({*FILE.findall(text), *FOLDER.findall(text)})


@pytest.mark.parametrize('page', ['docs/architecture.md', 'CONTRIBUTING.md'])
def test_named_files_exist(page):
    wanted = names(page)
    assert len(wanted) > 5
    there = [
        str(path.relative_to(ROOT))
        for top in ('selfsup', 'tools', 'tests', 'benchmarks')
        for path in (ROOT / top).rglob('*')
    ]
    missing = [
        name
        for name in wanted
        if not (ROOT / name).exists() and not any(f'/{path}'.endswith('/' + name.rstrip('/')) for path in there)
    ]
    assert not missing, f'{page} names {missing}'
