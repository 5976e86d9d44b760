"""What instances and nodes use, now and before."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from insula.base.errors import InvalidInput, NotFound
from insula.control.actions.caller import Audit, Caller, action
from insula.control.actions.ports import Nodes
from insula.control.store import Histories, Store
from insula.domain.access import Scope
from insula.domain.history import (
    MOST_POINTS,
    OF_HOSTS,
    OF_INSTANCES,
    RESOLUTIONS,
    History,
    Metric,
    Resolution,
    Use,
    coarsest_within,
    finest,
    node_subject,
    reaches,
    roll_up,
    series_of,
    starts_of,
)

_DEFAULT_SPAN = timedelta(hours=1)
_OLDEST_S = RESOLUTIONS[-1].kept_s
_DEFAULT_POINTS = 400


@dataclass(frozen=True)
class Span:
    """Of what time history is asked: the last hour unless told otherwise, in `step_s`, or in `points` at most.

    No metrics are all of them.
    """

    since: datetime | None = None
    until: datetime | None = None
    step_s: int | None = None
    points: int = _DEFAULT_POINTS
    metrics: Collection[Metric] = ()


class HistoryActions:
    def __init__(self, store: Store, nodes: Nodes, histories: Histories) -> None:
        self.store = store
        self._nodes = nodes
        self._histories = histories

    @action("history.instance", Scope.INSTANCES_READ, audit=Audit.NEVER)
    async def of_instance(self, caller: Caller, instance: str, span: Span) -> History:
        """Of an instance, which for some days may have gone. Raises NotFound, InvalidInput."""
        try:
            instance_id = (await self.store.instances.get(caller.project, instance)).id
        except NotFound:
            if self._histories.project_of(instance) != caller.project:
                raise
            instance_id = instance
        return await self._read(instance_id, instance_id, span, OF_INSTANCES)

    @action("history.host", Scope.HOST_READ, audit=Audit.NEVER)
    async def of_host(self, caller: Caller, span: Span, node: str = "") -> History:
        """Of a node; without a name, of the first one. Raises NotFound, InvalidInput."""
        name = node or self._nodes.names()[0]
        self._nodes.get(name)
        return await self._read(node_subject(name), name, span, OF_HOSTS)

    @action("history.use", Scope.INSTANCES_READ, audit=Audit.NEVER)
    async def use(self, caller: Caller) -> tuple[Use, ...]:
        """What all instances of the project use now, in the order of their ids; those without a machine nothing."""
        found = await self.store.instances.of_project(caller.project)
        return tuple([self._histories.use(each.id, each.name) for each in found])

    @action("history.host_use", Scope.HOST_READ, audit=Audit.NEVER)
    async def host_use(self, caller: Caller) -> tuple[Use, ...]:
        """What the nodes use now."""
        return tuple([replace(self._histories.use(node_subject(name), name), id=name) for name in self._nodes.names()])

    async def _read(self, subject: str, own_id: str, span: Span, known: Sequence[Metric]) -> History:
        wanted = [metric for metric in known if not span.metrics or metric in span.metrics]
        if not set(span.metrics) <= set(known):
            raise _not_measured(span.metrics, known)
        now_s = time.time()
        since_s, until_s = _bounds(span, now_s)
        if span.step_s is None:
            resolution, step_s = finest(now_s - since_s, until_s - since_s, span.points)
        else:
            resolution, step_s = _chosen(span.step_s, now_s - since_s, until_s - since_s)
        found = await self._histories.read(subject, resolution, since_s, until_s)
        buckets = roll_up(found, step_s)
        starts = starts_of(since_s, until_s, step_s)
        times = tuple([datetime.fromtimestamp(start, UTC) for start in starts])
        return History(own_id, step_s, times, tuple([series_of(metric, buckets, starts) for metric in wanted]))


def _bounds(span: Span, now_s: float) -> tuple[float, float]:
    """Since when and until when, in seconds since 1970. Raises InvalidInput."""
    until_s = min(span.until.timestamp(), now_s) if span.until is not None else now_s
    since_s = span.since.timestamp() if span.since is not None else until_s - _DEFAULT_SPAN.total_seconds()
    if since_s >= until_s:
        raise InvalidInput(
            "The time is not usable",
            why="It ends before it begins; what lies ahead is not measured yet",
            todo="Send a since before until, and before now",
            fields={"since": "must be before until and before now"},
        )
    return max(since_s, now_s - _OLDEST_S), until_s


def _chosen(step_s: int, age_s: float, span_s: float) -> tuple[Resolution, int]:
    """Raises InvalidInput for a step that cannot be had."""
    steps = ", ".join(str(each.step_s) for each in RESOLUTIONS)
    resolution = coarsest_within(step_s)
    if resolution is None:
        raise _wrong_step(f"{step_s} s are none of {steps} s, or a multiple of one", "Choose one of these")
    if not reaches(resolution, age_s):
        why = f"In steps of {resolution.step_s} s, {resolution.kept_s / 3600:g} h are kept"
        raise _wrong_step(why, "Choose a longer step, or a later since")
    if span_s > MOST_POINTS * step_s:
        raise _wrong_step(f"That were more than {MOST_POINTS} points", "Choose a longer step, or a shorter time")
    return resolution, step_s


def _wrong_step(why: str, todo: str) -> InvalidInput:
    return InvalidInput("The step cannot be had for this time", why=why, todo=todo, fields={"step": why})


def _not_measured(wanted: Collection[Metric], known: Sequence[Metric]) -> InvalidInput:
    names = sorted(set(wanted) - set(known))
    return InvalidInput(
        f"{', '.join(names)} is not measured here",
        why=f"Measured are {', '.join(known)}",
        todo="Choose one of them",
        fields={"metrics": f"{', '.join(names)} is not measured here"},
    )
