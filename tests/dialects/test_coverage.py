"""The pages that tell what is supported are true."""

from __future__ import annotations

from pathlib import Path

import pytest

from insula.frontends.dialects.coverage import Coverage
from insula.frontends.dialects.digitalocean.coverage import COVERAGE as DIGITALOCEAN
from insula.frontends.dialects.lightsail.coverage import COVERAGE as LIGHTSAIL
from insula.frontends.dialects.linode.coverage import COVERAGE as LINODE
from tests.dialects.botoshapes import lightsail

_DIALECTS = Path(__file__).resolve().parents[2] / "src" / "insula" / "frontends" / "dialects"


_ALL = [("digitalocean", DIGITALOCEAN), ("lightsail", LIGHTSAIL), ("linode", LINODE)]


@pytest.mark.parametrize(("name", "coverage"), _ALL)
def test_the_page_is_what_would_be_written(name: str, coverage: Coverage) -> None:
    assert (_DIALECTS / name / "COVERAGE.md").read_text() == coverage.page()


@pytest.mark.parametrize(("name", "coverage"), _ALL)
def test_what_is_not_supported_is_there(name: str, coverage: Coverage) -> None:
    there = {entry.name for entry in coverage.dialect.operations}
    assert there >= coverage.empty | coverage.refused, name


def test_every_operation_of_lightsail_is_answered_for() -> None:
    names = [entry.name for entry in LIGHTSAIL.dialect.operations]
    assert sorted(names) == sorted(lightsail().operations)
