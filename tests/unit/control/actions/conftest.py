"""Actions on users run on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from insula.control.store import Store
from tests.databases import KINDS, empty_database
from tests.unit.control.actions.people import People, make_people


@pytest.fixture(params=KINDS)
async def people(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[People]:
    with empty_database(request.param, tmp_path) as url:
        store = await Store.open(url)
        yield await make_people(store, monkeypatch)
        await store.close()
