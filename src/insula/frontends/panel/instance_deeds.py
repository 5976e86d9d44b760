"""The buttons and forms of an instance's page."""

from __future__ import annotations

from insula.control.actions import SnapshotFilter
from insula.domain.access import Scope
from insula.domain.instance import Instance, InstanceState
from insula.domain.plan import PLANS
from insula.domain.schedule import Every
from insula.domain.snapshot import SnapshotState
from insula.frontends.panel.view import Choice, Deed, Field, choices
from insula.frontends.panel.visit import Visit

_MOST = 100_000
POWER: tuple[tuple[Deed, InstanceState], ...] = (
    (Deed("start", "Start", "play"), InstanceState.STARTING),
    (Deed("resume", "Resume", "play"), InstanceState.RESUMING),
    (Deed("reboot", "Reboot", "refresh"), InstanceState.REBOOTING),
    (Deed("stop", "Stop", "square"), InstanceState.STOPPING),
    (Deed("pause", "Pause", "pause"), InstanceState.PAUSING),
    (Deed("hibernate", "Hibernate", "moon"), InstanceState.HIBERNATING),
)
"""Each is possible while the instance may be put into its state."""


async def deeds_of(visit: Visit, found: Instance) -> tuple[Deed, ...]:
    """What the caller may do with it besides its power."""
    may = visit.caller.identity.may
    deeds: list[Deed] = []
    if may(Scope.SNAPSHOTS_WRITE):
        deeds.append(_snapshot())
    if may(Scope.BACKUPS_WRITE):
        deeds += await _backups(visit)
    if not may(Scope.INSTANCES_WRITE):
        return tuple(deeds)
    deeds += _changes(found)
    deeds += _forwards(found)
    if may(Scope.NETWORKS_READ):
        deeds += await _networks(visit, found)
    deeds += await _dangers(visit, found)
    return tuple(deeds)


def _snapshot() -> Deed:
    return Deed(
        "snapshot",
        "Take a snapshot",
        "camera",
        (
            Field("snapshot_name", "Name", placeholder="a number is added to the instance's name"),
            Field("memory", "With the guest's memory, so that it can go on from there", "flag"),
        ),
        hint="What the disk holds now, to go back to or to make further instances of. It lies on the same host.",
    )


async def _backups(visit: Visit) -> list[Deed]:
    stores = [each.name for each in (await visit.actions.backup_stores.list(visit.caller, limit=_MOST)).items]
    if not stores:
        return []
    store = Field("store", "Store", "select", stores[0], choices(stores))
    return [
        Deed(
            "backup",
            "Make a backup",
            "archive",
            (store, Field("backup_name", "Name", placeholder="made of the name and the time")),
            hint="A copy elsewhere, of what has changed since the last one.",
        ),
        Deed(
            "schedule",
            "Back up by schedule",
            "clock",
            (
                store,
                Field("every", "How often", "select", "daily", (*choices([*Every]), Choice("", "no more"))),
                Field("daily", "Keep daily ones", "number", "7"),
                Field("weekly", "Keep weekly ones", "number", "4"),
                Field("monthly", "Keep monthly ones", "number", "6"),
                Field("drill", "Try a restore", "select", "monthly", choices([*Every], "never")),
            ),
            hint="Old ones go as the numbers say. A drill restores one, boots it and tells whether it answers.",
        ),
    ]


def _changes(found: Instance) -> list[Deed]:
    lease = "" if found.lease_s is None else str(found.lease_s // 60)
    return [
        Deed("rename", "Rename", "edit", (Field("name", "Name", value=found.name, required=True),)),
        Deed("tag", "Tag", "tag", (Field("tags", "Tags", value=" ".join(found.tags), placeholder="web env:prod"),)),
        Deed(
            "resize",
            "Resize",
            "resize",
            (
                Field("plan", "Plan", "select", found.plan, _plans(found.plan)),
                Field("disk_gib", "Disk in GiB, at least", "number", str(found.resources.disk_gib)),
            ),
            hint="It reboots for another number of processors or other memory. A disk can only grow.",
        ),
        Deed(
            "fork",
            "Fork",
            "fork",
            (Field("count", "How many", "number", "1"), Field("names", "Names", placeholder="chosen if left empty")),
            hint="Further instances go on from this very moment of a running one, which goes on itself.",
        ),
        Deed(
            "lease",
            "Lease",
            "clock",
            (Field("minutes", "Minutes until it is deleted, unless renewed; empty for no lease", "number", lease),),
        ),
        _protection(found),
    ]


def _plans(present: str) -> tuple[Choice, ...]:
    known = tuple(Choice(name, f"{name}: {plan.vcpus} vCPU, {plan.memory_mib} MiB") for name, plan in PLANS.items())
    return known if present in PLANS else (Choice(present, present or "none"), *known)


def _protection(found: Instance) -> Deed:
    if found.protected:
        return Deed("unprotect", "Lift the protection", "shield")
    return Deed("protect", "Protect", "shield", hint="It cannot be deleted or rebuilt until that is lifted.")


def _forwards(found: Instance) -> list[Deed]:
    opened = tuple(
        Choice(
            f"{each.host_port}/{each.protocol}",
            f"{each.host_address}:{each.host_port} → {each.guest_port}/{each.protocol}",
        )
        for each in found.forwards
    )
    deeds = [
        Deed(
            "forward",
            "Forward a port",
            "arrow-right",
            (
                Field("guest_port", "Port of the guest", "number", required=True),
                Field("host_port", "Port of the host", "number", placeholder="a free one"),
                Field("host_address", "Address of the host", value="127.0.0.1"),
                Field("protocol", "Protocol", "select", "tcp", choices(["tcp", "udp"])),
            ),
        )
    ]
    if opened:
        deeds.append(Deed("unforward", "Close a port", "x", (Field("forward", "Port", "select", "", opened),)))
    return deeds


async def _networks(visit: Visit, found: Instance) -> list[Deed]:
    known = (await visit.actions.networks.list(visit.caller)).items
    here = [port.network_id for port in found.ports]
    others = [each.name for each in known if each.id not in here]
    further = [each.name for each in known if each.id in here[1:]]
    deeds = []
    if others:
        deeds.append(
            Deed("join", "Join a network", "network", (Field("network", "Network", "select", "", choices(others)),))
        )
    if further:
        fields = (Field("network", "Network", "select", "", choices(further)),)
        deeds.append(Deed("leave", "Leave a network", "network", fields))
    return deeds


async def _dangers(visit: Visit, found: Instance) -> list[Deed]:
    """What cannot be undone asks for the name."""
    deeds = []
    if found.state not in {InstanceState.STOPPED, InstanceState.HIBERNATED, InstanceState.CREATING}:
        hint = "At once, as if the power failed: what the guest has not written down is lost."
        deeds.append(Deed("cut", "Switch off", "power", hint=hint, is_danger=True))
    if visit.caller.identity.may(Scope.SNAPSHOTS_READ):
        where = SnapshotFilter(instance_id=found.id, state=SnapshotState.AVAILABLE)
        names = [
            each.name for each in (await visit.actions.snapshots.list(visit.caller, where=where, limit=_MOST)).items
        ]
        if names:
            fields = (
                Field("snapshot", "Snapshot", "select", "", choices(names)),
                Field("disk_only", "The disk only, not the memory", "flag"),
            )
            hint = "What has changed since the snapshot is lost."
            deeds.append(Deed("revert", "Go back to a snapshot", "history", fields, hint, True, found.name))
    image = Field("image", "Image", placeholder=f"{found.image}, as now")
    hint = "A fresh disk; name, addresses and size stay. What the disk holds is lost."
    deeds.append(Deed("rebuild", "Rebuild", "refresh", (image,), hint, True, found.name))
    hint = "With its disk. Its snapshots and backups stay."
    deeds.append(Deed("delete", "Delete", "trash", (), hint, True, found.name))
    return deeds
