"""The documents cannot drift from the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from insula.base.settings import SETTINGS
from insula.cli.reference import reference

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


def test_the_command_line_is_documented_as_it_is() -> None:
    assert (DOCS / "cli.md").read_text() == reference(), "run .venv/bin/python -m insula.cli.reference > docs/cli.md"


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_documented_as_it_is(name: str) -> None:
    assert f"| `{name}` | {SETTINGS[name]} |" in (DOCS / "settings.md").read_text()


def test_no_setting_is_documented_that_there_is_not() -> None:
    assert set(re.findall(r"`(INSULA_[A-Z_]+)`", (DOCS / "settings.md").read_text())) == set(SETTINGS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_decision_is_in_the_index() -> None:
    index = (DOCS / "adr" / "README.md").read_text()
    records = [path.name for path in sorted((DOCS / "adr").glob("[0-9]*.md"))]
    assert records
    assert [name for name in records if f"({name})" not in index] == []


def test_every_package_says_what_it_is_for() -> None:
    for name in ("packages.txt", "packages-test.txt"):
        for line in (ROOT / name).read_text().splitlines():
            assert line.startswith("#") or re.fullmatch(r"[a-z0-9.+-]+( \| [a-z0-9.+-]+)? +# .{10,}", line), line
