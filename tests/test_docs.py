"""The documentation names what is there, and only that."""

from __future__ import annotations

import re
from pathlib import Path

import facededup

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "facededup"


def documented(name: str) -> list[str]:
    """The names in the first column of the tables of a document."""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE)


def test_the_api_page_names_every_public_name_once():
    assert sorted(documented("api.md")) == sorted(facededup.__all__)


def test_every_module_has_its_line():
    modules = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    }
    assert sorted(documented("architecture.md")) == sorted(modules)


def test_links_between_the_documents_lead_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
