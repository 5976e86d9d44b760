"""The first page: what runs, what is left of the host, what needs attention, what was done last."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from insula.domain.access import Scope
from insula.domain.capacity import Amount, Capacity
from insula.domain.instance import Instance, InstanceState
from insula.domain.operation import Operation
from insula.frontends.panel.render import gib_text, mib_text, page
from insula.frontends.panel.visit import ROOT, Answer, Visit, route

_MOST = 100_000
_RECENT = 8
_SHOWN_INSTANCES = 8
_KEEP_ALIVE_S = 15.0
EVENTS = "text/event-stream"


@dataclass(frozen=True)
class Gauge:
    """How much of something is promised. `percent` is at most 100, `level` how near the end it is."""

    title: str
    used: str
    total: str
    percent: int

    @property
    def level(self) -> str:
        if self.percent >= 95:
            return "danger"
        return "warning" if self.percent >= 80 else "ok"


@dataclass(frozen=True)
class Concern:
    """Something that needs attention, and where."""

    text: str
    detail: str
    href: str = ""


@route("GET", "/")
async def show(visit: Visit) -> Answer:
    """Everything at a glance."""
    may = visit.caller.identity.may
    instances: Sequence[Instance] = ()
    if may(Scope.INSTANCES_READ):
        instances = (await visit.actions.instances.list(visit.caller, limit=_MOST)).items
    operations: Sequence[Operation] = ()
    if may(Scope.OPERATIONS_READ):
        operations = (await visit.actions.operations.list(visit.caller, limit=_RECENT)).items
    capacity = await visit.actions.host.capacity(visit.caller) if may(Scope.HOST_READ) else ()
    newest = sorted(instances, key=lambda each: each.created_at, reverse=True)[:_SHOWN_INSTANCES]
    return page(
        visit,
        "home.html",
        total=len(instances),
        counts=Counter(each.state.value for each in instances).most_common(),
        running=sum(each.state is InstanceState.RUNNING for each in instances),
        instances=newest,
        operations=operations,
        gauges=[gauge for each in capacity for gauge in _gauges(each, len(capacity) > 1)],
        concerns=_concerns(instances, operations, capacity),
    )


def _gauges(found: Capacity, is_one_of_many: bool) -> list[Gauge]:
    of = f" of {found.node}" if is_one_of_many else ""
    return [
        _gauge(f"Memory{of}", found.memory_mib, mib_text),
        _gauge(f"Processors{of}", found.cpu_percent, lambda percent: f"{percent / 100:g} cores"),
        _gauge(f"Disk{of}", found.disk_gib, gib_text),
    ]


def _gauge(title: str, amount: Amount, text: Callable[[float], str]) -> Gauge:
    percent = round(100 * amount.used / amount.total) if amount.total else 100
    return Gauge(title, text(amount.used), text(amount.total), min(100, max(0, percent)))


def _concerns(
    instances: Sequence[Instance], operations: Sequence[Operation], capacity: Sequence[Capacity]
) -> list[Concern]:
    """What somebody should look at, the most urgent first."""
    found = [
        Concern(f"{each.name} has failed", each.problem or "It does not run.", f"{ROOT}/instances/{each.name}")
        for each in instances
        if each.state is InstanceState.FAILED
    ]
    found += [
        Concern(f"The disk of {each.node} is nearly full", f"{gib_text(each.physical_disk_free_gib)} are left.")
        for each in capacity
        if each.disk_room != "enough"
    ]
    found += [
        Concern(
            f"{each.verb.value.replace('_', ' ').capitalize()} of {each.target_name} {each.state.value}",
            str((each.error or {}).get("what", "")),
            f"{ROOT}/operations/{each.id}",
        )
        for each in operations
        if each.state in {"failed", "stuck"}
    ]
    return found[:6]


@route("GET", "/live")
async def live(visit: Visit) -> Answer:
    """Server-sent events: one whenever something in the project has changed."""
    return Answer(_events(visit), media=EVENTS, headers={"x-accel-buffering": "no"})


async def _events(visit: Visit) -> AsyncIterator[bytes]:
    changes = visit.panel.pulse.follow(visit.caller, visit.query.get("since", ""))
    closing = asyncio.create_task(visit.panel.closing.wait())
    following = asyncio.create_task(_next(changes))
    try:
        yield b"retry: 2000\n: follows\n\n"
        while True:
            await asyncio.wait({closing, following}, timeout=_KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
            if closing.done():
                return
            if not following.done():
                yield b": still here\n\n"
                continue
            yield b"event: changed\ndata: %d\n\n" % following.result()
            following = asyncio.create_task(_next(changes))
    finally:
        closing.cancel()
        following.cancel()
        await asyncio.wait({closing, following})
        await changes.aclose()


async def _next(changes: AsyncIterator[int]) -> int:
    return await anext(changes)
