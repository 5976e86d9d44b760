"""What all tests share: which ones this machine can run, and which ones must not run at the same time."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("vm"):
            # Emulated machines need a core each; two at once make each other time out.
            item.add_marker(pytest.mark.xdist_group("machines"))
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))
        if item.get_closest_marker("postgres") and not os.environ.get("INSULA_TEST_POSTGRES"):
            item.add_marker(pytest.mark.skip(reason="needs the private PostgreSQL that ./test starts"))
