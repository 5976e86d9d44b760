"""What a new instance takes over from the backup that it is restored from, and what its wish may change."""

from __future__ import annotations

from dataclasses import replace

from insula.control.actions.faults import Faults
from insula.control.actions.wishes import CreateWish
from insula.domain.backup import Backup
from insula.domain.instance import Firmware, MachineType, Resources
from insula.domain.plan import DEFAULT_PLAN


def complete(wish: CreateWish, backup: Backup, faults: Faults) -> CreateWish:
    """The wish with what it leaves open: what the backup's instance had. Notes what does not fit."""
    if wish.snapshot:
        faults.note("snapshot", "must be left out: an instance comes from a backup or from a snapshot")
    if wish.image not in ("", backup.image):
        faults.note("image", f"must be left out: backup {backup.name} is whole without one")
    if wish.firmware not in (Firmware.AUTO, backup.firmware):
        faults.note("firmware", f"must be left out: what is on the disk starts with {backup.firmware}")
    if wish.machine_type not in (MachineType.AUTO, backup.machine_type):
        faults.note("machine_type", f"must be left out: it is {backup.machine_type} in the backup")
    return replace(
        wish,
        image=backup.image,
        plan=wish.plan or backup.plan or DEFAULT_PLAN,
        firmware=backup.firmware,
        machine_type=backup.machine_type,
    )


def check_size(wanted: Resources, backup: Backup, faults: Faults) -> None:
    """Note a disk in which what is in the backup has no room."""
    if wanted.disk_gib < backup.size_gib:
        faults.note("disk_gib", f"must be at least {backup.size_gib}, the size of the backup's disk")
