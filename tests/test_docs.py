"""What docs/ says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import docs_tables
import pytest

import wfengine

DOCS = docs_tables.DOCS
PAGES = sorted(DOCS.glob("*.md"))


@pytest.mark.parametrize(("page", "name"), docs_tables.TABLES, ids=lambda part: part)
def test_a_generated_table_is_up_to_date(page, name):
    """Run ``python tests/docs_tables.py`` when this fails."""
    table = docs_tables.TABLES[page, name]()
    assert docs_tables.placed(page, name, table) == (DOCS / page).read_text()


def test_links_between_pages_lead_somewhere():
    broken = []
    for page in [*PAGES, DOCS.parent / "README.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)|`(docs/[a-z-]+\.md)`", page.read_text()):
            name = target[0] or target[1]
            found = (page.parent / name).exists() or (DOCS.parent / name).exists()
            broken += [] if found else [f"{page.name}: {name}"]
    assert broken == []


def test_every_name_of_the_face_is_there():
    assert [name for name in wfengine.__all__ if getattr(wfengine, name, None) is None] == []


def test_the_faults_cited_by_tests_are_on_the_page():
    page = (DOCS / "reliability.md").read_text()
    cited = set()
    for test in Path(__file__).parent.rglob("test_*.py"):
        for found in re.findall(r"docs/reliability\.md, ((?:[A-Z]\d+(?:, )?)+)", test.read_text()):
            cited |= set(re.findall(r"[A-Z]\d+", found))
    missing = [fault for fault in sorted(cited) if not re.search(rf"\b{fault}\b", page)]
    assert missing == []
