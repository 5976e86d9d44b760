"""Instances: their list, and the page of one with everything that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from insula.base.errors import InsulaError
from insula.control.actions import BackupFilter, SnapshotFilter
from insula.domain.access import Scope
from insula.domain.backup import Backup
from insula.domain.instance import TRANSITIONS, Instance, InstanceState
from insula.domain.project_firewall import ProjectFirewall, rule_text
from insula.domain.snapshot import Snapshot
from insula.domain.traffic import HourTraffic
from insula.frontends.panel.instance_deeds import POWER, deeds_of
from insula.frontends.panel.instance_verbs import VERBS
from insula.frontends.panel.nouns import Empty, Noun, serve
from insula.frontends.panel.operations import operations_of
from insula.frontends.panel.render import bytes_text, gib_text, mib_text, page
from insula.frontends.panel.view import (
    Cell,
    Column,
    Deed,
    Fact,
    Part,
    Row,
    Thing,
    amount,
    code,
    link,
    state,
    tags,
    when,
)
from insula.frontends.panel.visit import ROOT, Answer, Visit, route

MOST = 100_000
_GRAPH_HOURS = 24
BULK = (
    Deed("start", "Start", "play"),
    Deed("stop", "Stop", "square"),
    Deed("reboot", "Reboot", "refresh"),
    Deed("protect", "Protect", "shield"),
    Deed("delete", "Delete", "trash", is_danger=True, hint="Their disks, and all that is on them, will be gone."),
)


@dataclass(frozen=True)
class Bar:
    """An hour of a graph: its place from the left and the heights of both directions, in percent."""

    hour: HourTraffic
    x: float
    received: float
    sent: float


@dataclass(frozen=True)
class Phase:
    """A phase of a boot on its line, in percent of the whole boot."""

    name: str
    x: float
    width: float
    took_ms: int


@dataclass(frozen=True)
class InstancePage(Thing):
    """`power` are the buttons at the top, `ways_in` lines that one types to log in."""

    instance: Instance | None = None
    power: tuple[Deed, ...] = ()
    phases: tuple[Phase, ...] = ()
    boot_ms: int = 0
    ways_in: tuple[str, ...] = ()


async def rows(visit: Visit) -> Sequence[Row]:
    """A line for each instance."""
    found = await visit.actions.instances.list(visit.caller, limit=MOST)
    return [_row(each) for each in found.items]


def _row(each: Instance) -> Row:
    size = each.resources
    cells = (
        link(each.name, f"{ROOT}/instances/{each.name}"),
        state(each.state.value),
        Cell(each.image),
        amount(f"{size.vcpus} vCPU · {mib_text(size.memory_mib)} · {gib_text(size.disk_gib)}", size.memory_mib),
        code(each.ports[0].ipv4 if each.ports else ""),
        tags(each.tags),
        when(each.created_at),
    )
    return Row(each.id, each.name, cells, hint=f"{each.id} {each.plan} {' '.join(port.ipv6 for port in each.ports)}")


async def show(visit: Visit, name: str) -> Thing:
    """Everything about one."""
    found = await visit.actions.instances.show(visit.caller, name)
    shown = await _parts(visit, found)
    phases, boot_ms = _phases(found)
    power = tuple(deed for deed, wanted in POWER if wanted in _possible(found.state))
    return InstancePage(
        id=found.id,
        name=found.name,
        state=found.state.value,
        problem=found.problem,
        facts=await _facts(visit, found),
        deeds=await deeds_of(visit, found),
        parts=shown,
        operations=await operations_of(visit, found.id),
        instance=found,
        power=power,
        phases=phases,
        boot_ms=boot_ms,
        ways_in=_ways_in(found),
    )


def _possible(now: InstanceState) -> frozenset[InstanceState]:
    """States that it may be put into; one that runs cannot be started, though it may be seen to start."""
    return TRANSITIONS[now] - ({InstanceState.STARTING} if now is InstanceState.RUNNING else set())


def _ways_in(found: Instance) -> tuple[str, ...]:
    ways = [f"insula ssh {found.name}"]
    if found.ssh_port is not None:
        ways.append(f"ssh -p {found.ssh_port} root@127.0.0.1")
    return tuple(ways)


async def _facts(visit: Visit, found: Instance) -> tuple[Fact, ...]:
    size = found.resources
    facts = [
        Fact("Image", link(found.image, f"{ROOT}/images?q={found.image}")),
        Fact("Plan", Cell(found.plan or "—")),
        Fact("Size", Cell(f"{size.vcpus} vCPU, {mib_text(size.memory_mib)} memory, {gib_text(size.disk_gib)} disk")),
        Fact("Host name", code(found.hostname)),
        *(Fact("Address", code(port.ipv4 or port.ipv6)) for port in found.ports),
        *(Fact("IPv6", code(port.ipv6)) for port in found.ports if port.ipv4 and port.ipv6),
        *[Fact("Reserved address", code(address)) for address in await _reserved(visit, found)],
        Fact("Tags", tags(found.tags)),
        Fact("Node", Cell(found.node or "not placed yet")),
        Fact("Created", when(found.created_at)),
        Fact("Started", when(found.started_at)),
        Fact("Protected", Cell("yes: it cannot be deleted or rebuilt" if found.protected else "no")),
    ]
    if found.lease_until is not None:
        facts.append(Fact("Lease ends", when(found.lease_until)))
    facts.append(Fact("Id", code(found.id)))
    return tuple(facts)


async def _reserved(visit: Visit, found: Instance) -> list[str]:
    if not visit.caller.identity.may(Scope.NETWORKS_READ):
        return []
    listed = await visit.actions.addresses.list(visit.caller)
    return [each.address for each in listed.items if each.instance_id == found.id]


async def _parts(visit: Visit, found: Instance) -> tuple[Part, ...]:
    """Tables of what belongs to it, of what the caller may see."""
    may, shown = visit.caller.identity.may, []
    if may(Scope.VOLUMES_READ):
        volumes = await visit.actions.volumes.list(visit.caller, instance=found.id, limit=MOST)
        lines = tuple(
            Row(
                each.id,
                each.name,
                (link(each.name, f"{ROOT}/volumes/{each.name}"), state(each.state), Cell(gib_text(each.size_gib))),
            )
            for each in volumes.items
        )
        shown.append(Part("Volumes", ("Name", "State", "Size"), lines, "No volume is attached."))
    if may(Scope.SNAPSHOTS_READ):
        where = SnapshotFilter(instance_id=found.id)
        snapshots = await visit.actions.snapshots.list(visit.caller, where=where, limit=MOST)
        lines = tuple(_snapshot_row(each) for each in snapshots.items)
        shown.append(Part("Snapshots", ("Name", "State", "Kind", "Size", "Made"), lines, "No snapshot has been made."))
    if may(Scope.BACKUPS_READ):
        backups = await visit.actions.backups.list(visit.caller, where=BackupFilter(instance_id=found.id), limit=MOST)
        lines = tuple(_backup_row(each) for each in backups.items)
        shown.append(Part("Backups", ("Name", "State", "Last drill", "Made"), lines, "No backup has been made."))
    if may(Scope.FIREWALLS_READ):
        shown.append(await _rules(visit, found))
    return tuple(shown)


def _snapshot_row(each: Snapshot) -> Row:
    cells = (
        link(each.name, f"{ROOT}/snapshots/{each.name}"),
        state(each.state.value),
        Cell("disk and memory" if each.kind == "memory" else "disk"),
        Cell(bytes_text(each.size_bytes)),
        when(each.created_at),
    )
    return Row(each.id, each.name, cells)


def _backup_row(each: Backup) -> Row:
    drill = Cell("not tried yet") if not each.drills else state("passed" if each.drills[-1].passed else "failed")
    cells = (link(each.name, f"{ROOT}/backups/{each.name}"), state(each.state.value), drill, when(each.created_at))
    return Row(each.id, each.name, cells)


async def _rules(visit: Visit, found: Instance) -> Part:
    """The rules of all firewalls that apply to it, in the order in which they are asked, with what matched them."""
    lines: list[Row] = []
    for firewall in (await visit.actions.firewalls.list(visit.caller)).items:
        if applies(firewall, found):
            lines += await _rule_rows(visit, firewall)
    columns = ("Firewall", "Direction", "Rule", "Packets", "Bytes")
    return Part("Firewall", columns, tuple(lines), "No firewall applies: all that its network lets through comes in.")


def applies(firewall: ProjectFirewall, found: Instance) -> bool:
    return found.id in firewall.instances or bool({*firewall.tags} & {*found.tags})


async def _rule_rows(visit: Visit, firewall: ProjectFirewall) -> list[Row]:
    try:
        counts = await visit.actions.firewalls.traffic(visit.caller, firewall.id)
    except InsulaError:
        counts = {}  # a node that does not answer hides no rule
    lines = []
    for rule in firewall.rules:
        count = counts.get(rule.id)
        cells = (
            link(firewall.name, f"{ROOT}/firewalls/{firewall.name}"),
            Cell(rule.direction.value),
            code(rule_text(rule)),
            Cell("—" if count is None else f"{count.packets}"),
            Cell("—" if count is None else bytes_text(count.byte_count)),
        )
        lines.append(Row(rule.id, firewall.name, cells))
    return lines


def _phases(found: Instance) -> tuple[tuple[Phase, ...], int]:
    boot_ms = max((phase.started_ms + phase.took_ms for phase in found.boot_phases), default=0)
    if boot_ms <= 0:
        return (), 0
    share = 100 / boot_ms
    return tuple(
        Phase(each.name, each.started_ms * share, max(each.took_ms * share, 0.5), each.took_ms)
        for each in found.boot_phases
    ), boot_ms


NOUN = serve(
    Noun(
        path="/instances",
        title="Instances",
        one="instance",
        icon="server",
        columns=(
            Column("Name"),
            Column("State"),
            Column("Image"),
            Column("Size"),
            Column("Address"),
            Column("Tags"),
            Column("Created"),
        ),
        rows=rows,
        empty=Empty(
            "Your first virtual machine is three clicks away",
            "An instance is a machine of your own: choose an image and a size, and log in within seconds.",
            "insula create web1",
        ),
        thing=show,
        template="instance.html",
        verbs=VERBS,
        bulk=BULK,
        make_place=f"{ROOT}/create",
        make_label="Create instance",
    )
)


@route("GET", "/instances/{name}/traffic")
async def traffic(visit: Visit) -> Answer:
    """What it sent and received in the last day, hour by hour."""
    found = await visit.actions.traffic.show(visit.caller, visit.path["name"], _GRAPH_HOURS)
    most = max((max(each.counts.sent_bytes, each.counts.received_bytes) for each in found.hours), default=0)
    bars = tuple(
        Bar(
            hour,
            round((hour.hour - found.since).total_seconds() / 3600 * 100 / _GRAPH_HOURS, 2),
            round(100 * hour.counts.received_bytes / most, 1) if most else 0.0,
            round(100 * hour.counts.sent_bytes / most, 1) if most else 0.0,
        )
        for hour in found.hours
    )
    return page(visit, "traffic.html", name=visit.path["name"], bars=bars, found=found, most=most)
