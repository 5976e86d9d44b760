"""What can be done with an instance: each form's fields become one action."""

from __future__ import annotations

from collections.abc import Mapping

from insula.base.errors import InvalidInput
from insula.control.actions.backup_schedules import ScheduleWish
from insula.control.actions.backups import BackupWish
from insula.control.actions.sizes import SizeWish
from insula.control.actions.snapshots import SnapshotWish
from insula.control.actions.wishes import ChangeWish, ForkWish, RebuildWish, ResizeWish
from insula.domain.instance import PortForward, Protocol
from insula.domain.retention import Keep
from insula.domain.schedule import Every
from insula.domain.snapshot import SnapshotKind
from insula.frontends.panel.nouns import Do, Done, accepted
from insula.frontends.panel.visit import ROOT, Visit

_HERE = f"{ROOT}/instances"


def _here(name: str) -> str:
    return f"{_HERE}/{name}"


async def _start(visit: Visit, name: str) -> Done:
    operation = await visit.actions.instances.start(visit.caller, name, visit.form.flag("cold"))
    return accepted(operation, f"{operation.target_name} starts.", _here(name))


async def _stop(visit: Visit, name: str) -> Done:
    operation = await visit.actions.instances.stop(visit.caller, name)
    return accepted(operation, f"{operation.target_name} shuts down.", _here(name))


async def _cut(visit: Visit, name: str) -> Done:
    operation = await visit.actions.instances.stop(visit.caller, name, 0.0)
    return accepted(operation, f"{operation.target_name} is switched off.", _here(name))


async def _reboot(visit: Visit, name: str) -> Done:
    operation = await visit.actions.instances.reboot(visit.caller, name)
    return accepted(operation, f"{operation.target_name} reboots.", _here(name))


async def _pause(visit: Visit, name: str) -> Done:
    operation = await visit.actions.instances.pause(visit.caller, name)
    return accepted(operation, f"{operation.target_name} stands still soon.", _here(name))


async def _resume(visit: Visit, name: str) -> Done:
    operation = await visit.actions.instances.resume(visit.caller, name)
    return accepted(operation, f"{operation.target_name} goes on.", _here(name))


async def _hibernate(visit: Visit, name: str) -> Done:
    operation = await visit.actions.instances.hibernate(visit.caller, name)
    return accepted(operation, f"The memory of {operation.target_name} is saved to disk.", _here(name))


async def _rename(visit: Visit, name: str) -> Done:
    changed = await visit.actions.instances.change(visit.caller, name, ChangeWish(name=visit.form.text("name")))
    return Done(f"It is called {changed.name} now.", _here(changed.name))


async def _tag(visit: Visit, name: str) -> Done:
    await visit.actions.instances.change(visit.caller, name, ChangeWish(tags=visit.form.words("tags")))
    return Done("The tags are changed.")


async def _protect(visit: Visit, name: str) -> Done:
    await visit.actions.instances.change(visit.caller, name, ChangeWish(protected=True))
    return Done(f"{name} is protected.")


async def _unprotect(visit: Visit, name: str) -> Done:
    await visit.actions.instances.change(visit.caller, name, ChangeWish(protected=False))
    return Done(f"{name} is not protected any more.")


async def _lease(visit: Visit, name: str) -> Done:
    minutes = visit.form.number("minutes", 0)
    leased = await visit.actions.instances.lease(visit.caller, name, minutes * 60 if minutes else None)
    return Done("The lease is taken off." if leased.lease_until is None else f"The lease is {minutes} minutes long.")


async def _resize(visit: Visit, name: str) -> Done:
    size = SizeWish(disk_gib=visit.form.number("disk_gib", 0) or None)
    operation = await visit.actions.instances.resize(visit.caller, name, ResizeWish(visit.form.text("plan"), size))
    return accepted(operation, f"{operation.target_name} gets another size.", _here(name))


async def _fork(visit: Visit, name: str) -> Done:
    wish = ForkWish(visit.form.number("count", 1), visit.form.words("names"))
    return accepted(await visit.actions.instances.fork(visit.caller, name, wish), f"{name} is forked.")


async def _rebuild(visit: Visit, name: str) -> Done:
    visit.form.check_typed(name)
    operation = await visit.actions.instances.rebuild(visit.caller, name, RebuildWish(visit.form.text("image") or None))
    return accepted(operation, f"{operation.target_name} gets a fresh disk.", _here(name))


async def _revert(visit: Visit, name: str) -> Done:
    visit.form.check_typed(name)
    snapshot, disk_only = visit.form.text("snapshot"), visit.form.flag("disk_only")
    operation = await visit.actions.instances.revert(visit.caller, name, snapshot, disk_only=disk_only)
    return accepted(operation, f"{operation.target_name} goes back to {snapshot}.", _here(name))


async def _delete(visit: Visit, name: str) -> Done:
    visit.form.check_typed(name, "delete")
    operation = await visit.actions.instances.delete(visit.caller, name)
    return accepted(operation, f"{operation.target_name} is deleted.", _HERE)


async def _snapshot(visit: Visit, name: str) -> Done:
    kind = SnapshotKind.MEMORY if visit.form.flag("memory") else SnapshotKind.DISK
    wish = SnapshotWish(name, visit.form.text("snapshot_name"), kind)
    operation = await visit.actions.snapshots.create(visit.caller, wish)
    return accepted(operation, f"The snapshot {operation.target_name} is made.", _here(name))


async def _backup(visit: Visit, name: str) -> Done:
    wish = BackupWish(name, visit.form.text("store"), visit.form.text("backup_name"))
    operation = await visit.actions.backups.create(visit.caller, wish)
    return accepted(operation, f"The backup {operation.target_name} is made.", _here(name))


async def _schedule(visit: Visit, name: str) -> Done:
    every = visit.form.text("every")
    if not every:
        await visit.actions.backup_schedules.end(visit.caller, name)
        return Done(f"{name} is not backed up by schedule any more; its backups stay.")
    form = visit.form
    keep = Keep(form.number("hourly", 0), form.number("daily", 7), form.number("weekly", 4), form.number("monthly", 6))
    drill = form.chosen("drill", Every) if form.text("drill") else None
    wish = ScheduleWish(form.text("store"), form.chosen("every", Every), keep=keep, drill=drill)
    await visit.actions.backup_schedules.set(visit.caller, name, wish)
    return Done(f"{name} is backed up {every}.")


async def _forward(visit: Visit, name: str) -> Done:
    form = visit.form
    forward = PortForward(
        form.number("guest_port"),
        form.number("host_port", 0),
        form.text("host_address", "127.0.0.1"),
        form.chosen("protocol", Protocol, "tcp"),
    )
    await visit.actions.forwards.add(visit.caller, name, forward)
    return Done(f"Port {forward.guest_port} can be reached from the host.")


async def _unforward(visit: Visit, name: str) -> Done:
    port, protocol = visit.form.text("forward", "0/tcp").split("/", 1)
    if not port.isascii() or not port.isdigit() or protocol not in {*Protocol}:
        raise InvalidInput("Such a port is not forwarded", fields={"forward": "is none of those that are"})
    await visit.actions.forwards.remove(visit.caller, name, int(port), Protocol(protocol))
    return Done(f"Port {port} of the host leads nowhere now.")


async def _join(visit: Visit, name: str) -> Done:
    await visit.actions.networks.attach(visit.caller, name, visit.form.text("network"))
    return Done(f"{name} is in the network {visit.form.text('network')} now.")


async def _leave(visit: Visit, name: str) -> Done:
    await visit.actions.networks.detach(visit.caller, name, visit.form.text("network"))
    return Done(f"{name} is not in that network any more.")


VERBS: Mapping[str, Do] = {
    "start": _start,
    "stop": _stop,
    "cut": _cut,
    "reboot": _reboot,
    "pause": _pause,
    "resume": _resume,
    "hibernate": _hibernate,
    "rename": _rename,
    "tag": _tag,
    "protect": _protect,
    "unprotect": _unprotect,
    "lease": _lease,
    "resize": _resize,
    "fork": _fork,
    "rebuild": _rebuild,
    "revert": _revert,
    "delete": _delete,
    "snapshot": _snapshot,
    "backup": _backup,
    "schedule": _schedule,
    "forward": _forward,
    "unforward": _unforward,
    "join": _join,
    "leave": _leave,
}
