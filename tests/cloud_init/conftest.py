from __future__ import annotations

import pytest

from tests.cloud_init.release import Release, download


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Downloaded once a run."""
    return download(tmp_path_factory.mktemp("cloud-init"))
