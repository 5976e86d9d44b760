from __future__ import annotations

import pytest

from insula.base.errors import Conflict
from insula.domain.volume import TRANSITIONS, VolumeState, check_transition, device_path

_S = VolumeState
SETTLED = {_S.AVAILABLE, _S.ATTACHED, _S.FAILED}


def test_every_state_is_left_and_reached() -> None:
    assert set(TRANSITIONS) == set(VolumeState)
    reached = {state for states in TRANSITIONS.values() for state in states}
    assert reached == set(VolumeState) - {_S.CREATING}
    assert all(TRANSITIONS.values())


@pytest.mark.parametrize("state", sorted(set(VolumeState) - SETTLED))
def test_work_ends_where_nothing_is_done(state: VolumeState) -> None:
    assert TRANSITIONS[state] <= SETTLED
    assert _S.FAILED in TRANSITIONS[state]


def test_an_attached_volume_is_never_deleted() -> None:
    with pytest.raises(Conflict) as refused:
        check_transition("data", _S.ATTACHED, _S.DELETING)
    assert refused.value.what == "Volume data cannot be deleted now"
    assert "detached or grown" in refused.value.why
    check_transition("data", _S.AVAILABLE, _S.DELETING)


def test_a_guest_finds_it_by_its_name() -> None:
    assert device_path("data") == "/dev/disk/by-id/scsi-0Insula_Volume_data"
