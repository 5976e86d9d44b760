"""What an observation means for a record."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from insula.control.reconcile.judge import judge
from insula.domain.instance import TRANSITIONS, BootPhase, InstanceState
from insula.protocol.node import InstanceReport, Power
from tests.unit.control.store.samples import make_instance

STEADY = (
    *(InstanceState.RUNNING, InstanceState.STOPPED, InstanceState.FAILED, InstanceState.STARTING),
    *(InstanceState.PAUSED, InstanceState.HIBERNATED),
)


@pytest.mark.parametrize(
    ("state", "power", "after"),
    [
        (InstanceState.RUNNING, Power.OFF, InstanceState.STOPPED),
        (InstanceState.RUNNING, Power.CRASHED, InstanceState.FAILED),
        (InstanceState.RUNNING, Power.BOOTING, InstanceState.STARTING),
        (InstanceState.RUNNING, Power.ABSENT, InstanceState.FAILED),
        (InstanceState.STARTING, Power.ON, InstanceState.RUNNING),
        (InstanceState.STOPPED, Power.ON, InstanceState.RUNNING),
        (InstanceState.FAILED, Power.ON, InstanceState.RUNNING),
        (InstanceState.CREATING, Power.ON, InstanceState.RUNNING),
        (InstanceState.RUNNING, Power.PAUSED, InstanceState.PAUSED),
        (InstanceState.STARTING, Power.HIBERNATED, InstanceState.HIBERNATED),
    ],
)
def test_the_state_follows(state: InstanceState, power: Power, after: InstanceState) -> None:
    assert judge(make_instance(state=state), InstanceReport("id", power))["state"] is after


@pytest.mark.parametrize("state", STEADY)
@pytest.mark.parametrize("power", list(Power))
def test_every_change_is_legal(state: InstanceState, power: Power) -> None:
    changes = judge(make_instance(state=state), InstanceReport("id", power))
    assert changes.get("state", state) in {state, *TRANSITIONS[state]}


def test_agreement_changes_nothing() -> None:
    started_at = datetime(2026, 1, 1, tzinfo=UTC)
    record = make_instance(state=InstanceState.RUNNING, started_at=started_at)
    assert judge(record, InstanceReport("id", Power.ON, started_at_s=started_at.timestamp() + 1)) == {}


def test_a_new_boot_is_noted() -> None:
    record = make_instance(state=InstanceState.RUNNING, started_at=datetime(2026, 1, 1, tzinfo=UTC))
    phases = (BootPhase("ready", 10, 0),)
    later = datetime(2026, 1, 2, tzinfo=UTC)
    report = InstanceReport("id", Power.ON, started_at_s=later.timestamp(), restarts=1, phases=phases)
    assert judge(record, report) == {"started_at": later, "restarts": 1, "boot_phases": phases}


def test_a_failure_keeps_its_reason() -> None:
    record = make_instance(state=InstanceState.FAILED, problem="why")
    assert judge(record, InstanceReport("id", Power.OFF)) == {}
