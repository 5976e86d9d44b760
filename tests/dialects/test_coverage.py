"""The pages that tell what is supported are true."""

from __future__ import annotations

from pathlib import Path

from insula.frontends.dialects.digitalocean import coverage


def test_the_page_is_what_would_be_written() -> None:
    assert Path(coverage.__file__).with_name("COVERAGE.md").read_text() == coverage.page()
