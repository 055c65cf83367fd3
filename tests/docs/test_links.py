"""Links between pages resolve, anchors included; nothing is left to be filled in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .pages import PAGES, ROOT

LINK = re.compile(r'!?\[[^\]]*\]\(([^)\s]+)\)')


def prose(page: Path) -> str:
    """A page without its fenced blocks and code spans."""
    text = re.sub(r'^```.*?^```', '', page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r'`[^`\n]*`', '', text)


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links."""
    heads = re.findall(
        r'^#+ (.+)$', re.sub(r'^```.*?^```', '', page.read_text(), flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    return {re.sub(r'[^\w\- ]', '', head.lower()).replace(' ', '-') for head in heads}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links(page):
    broken = []
    for target in LINK.findall(re.sub(r'^```.*?^```', '', page.read_text(), flags=re.MULTILINE | re.DOTALL)):
        if re.match(r'https?://', target):
            continue
        name, _, anchor = target.partition('#')
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or not path.is_relative_to(ROOT) or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


def test_readme_leads_to_every_page():
    linked = {(ROOT / target.partition('#')[0]).resolve() for target in LINK.findall((ROOT / 'README.md').read_text())}
    assert [page.name for page in PAGES if page.parent == ROOT / 'docs' and page not in linked] == []


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_nothing_is_left_to_fill_in(page):
    assert re.findall(r'@[A-Z][A-Z0-9_]+@|\bTODO\b|\bTBD\b|\bXXX\b', prose(page)) == []


def test_readme_starts_with_the_two_commands():
    text = (ROOT / 'README.md').read_text()
    first = re.search(r'```bash\n(.*?)```', text, re.DOTALL)
    assert first[1].split('\n')[:2] == ['make demo', 'make test']
