"""The pages that tell what is supported are true."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from insula.frontends.dialects.digitalocean import coverage as digitalocean
from insula.frontends.dialects.linode import coverage as linode


@pytest.mark.parametrize("module", [digitalocean, linode])
def test_the_page_is_what_would_be_written(module: ModuleType) -> None:
    assert Path(module.__file__ or "").with_name("COVERAGE.md").read_text() == module.COVERAGE.page


@pytest.mark.parametrize("module", [digitalocean, linode])
def test_what_is_not_supported_is_there(module: ModuleType) -> None:
    there = {one.name for one in module.COVERAGE.dialect.operations}
    assert there >= module.COVERAGE.empty | module.COVERAGE.refused
