"""Fifty forks of one running Debian share nothing that must be their own; also not what a process draws in them."""

from __future__ import annotations

import pytest

from tests.identity.__main__ import main

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]


def test_fifty_forks_of_a_running_debian_share_nothing() -> None:
    assert main(["--forks", "50"]) == 0
