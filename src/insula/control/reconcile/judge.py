"""What an observation means for a record: a pure function."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from insula.domain.instance import Instance, InstanceState
from insula.protocol.node import InstanceReport, Power

_S = InstanceState
_SAME_START = timedelta(seconds=5)  # the record's moment is computed from a boot's length, the node's is exact

_MISSING = (
    "The node has no files of this instance. Nothing was removed by Insula: look for the folder in a backup, "
    "or delete the instance"
)


def judge(record: Instance, report: InstanceReport | None) -> Mapping[str, Any]:
    """The fields of `record` that the observation changes, empty when it agrees.

    Only meant for an instance that no operation works on. What the node reports as missing is never taken as a wish to
    remove it: the record says what happened and stays.
    """
    if report is None or report.power is Power.ABSENT:
        return _changes(record, state=_S.FAILED, problem=_MISSING, started_at=None)
    if report.power is Power.ON:
        return _on(record, report, _S.RUNNING)
    if report.power is Power.PAUSED:
        return _on(record, report, _S.PAUSED)
    if report.power is Power.HIBERNATED:
        return _changes(record, state=_S.HIBERNATED, problem=report.problem, started_at=None)
    if report.power is Power.BOOTING:
        return _changes(record, state=_S.STARTING, problem=report.problem, restarts=report.restarts)
    if report.power is Power.CRASHED:
        problem = report.problem or "Its machine ended by itself"
        return _changes(record, state=_S.FAILED, problem=problem, restarts=report.restarts, started_at=None)
    if record.state is _S.FAILED:
        return {}  # off, and the record says why
    return _changes(record, state=_S.STOPPED, problem=report.problem, started_at=None)


def _on(record: Instance, report: InstanceReport, state: InstanceState) -> Mapping[str, Any]:
    started_at = datetime.fromtimestamp(report.started_at_s, UTC) if report.started_at_s else record.started_at
    changes = _changes(record, state=state, problem=report.problem, restarts=report.restarts)
    is_new_boot = record.started_at is None or started_at is None or abs(started_at - record.started_at) > _SAME_START
    if is_new_boot and started_at != record.started_at:
        changes["started_at"] = started_at
    if changes and report.phases:
        changes["boot_phases"] = report.phases
    return changes


def _changes(record: Instance, **wanted: Any) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if getattr(record, name) != value}
