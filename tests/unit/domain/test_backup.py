"""Backups: their states and names."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from insula.base.errors import Conflict
from insula.domain.backup import TRANSITIONS, BackupState, check_transition, free_name
from insula.domain.names import check_name

AT = datetime(2026, 1, 31, 8, 15, tzinfo=UTC)


def test_every_state_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(BackupState)
    check_transition("b", BackupState.CREATING, BackupState.AVAILABLE)
    with pytest.raises(Conflict, match="cannot become available"):
        check_transition("b", BackupState.DELETING, BackupState.AVAILABLE)


@pytest.mark.parametrize("instance", ["web1", "a" * 63, "a" * 43 + "-" * 3 + "b" * 17])
def test_names_tell_the_moment(instance: str) -> None:
    taken: list[str] = []
    for _ in range(3):
        taken.append(check_name(free_name(instance, AT, taken)))
    assert len(set(taken)) == 3
    assert taken[0].endswith("-20260131-0815")
    assert taken[2].endswith("-20260131-0815-3")
