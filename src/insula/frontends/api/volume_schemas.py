"""The shapes of `/v1/volumes`; see :mod:`schemas`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from msgspec import Meta, field

from insula.control.actions.volumes import MAX_SIZE_GIB, MIN_SIZE_GIB, VolumeWish
from insula.domain.volume import FileSystem, Volume, VolumeState, device_path
from insula.frontends.api.schemas import Iops, Mbps, Name, PageQuery, Reference, Tags, Wish

SizeGib = Annotated[int, Meta(ge=MIN_SIZE_GIB, le=MAX_SIZE_GIB)]
InstanceName = Annotated[str, Meta(min_length=1, max_length=63, description="Name or id of an instance")]


class CreateVolume(Wish, frozen=True):
    """A new volume; with `attach_to` an instance gets it at once."""

    name: Name
    size_gib: SizeGib
    file_system: FileSystem = FileSystem.NONE
    attach_to: InstanceName | None = None
    tags: Tags = field(default_factory=list)
    protected: bool = False
    disk_iops: Iops = 0
    disk_mbps: Mbps = 0
    backup: Annotated[str, Meta(max_length=63, description="Name or id of a backup whose disk is on it")] = ""
    damaged: Annotated[bool, Meta(description="Restore what is left of a backup that has damage")] = False

    def to_wish(self) -> VolumeWish:
        return VolumeWish(
            name=self.name,
            size_gib=self.size_gib,
            file_system=self.file_system,
            attach_to=self.attach_to or "",
            tags=tuple(self.tags),
            protected=self.protected,
            disk_iops=self.disk_iops,
            disk_mbps=self.disk_mbps,
            backup=self.backup,
            damaged=self.damaged,
        )


class ChangeVolume(Wish, frozen=True):
    """What changes at once; fields left out stay. A volume keeps its name, by which guests find it."""

    tags: Tags | None = None
    protected: bool | None = None


class AttachVolume(Wish, frozen=True):
    """Which instance gets it; `move` takes it from the one that has it, with `force` though its guest uses it."""

    instance: InstanceName
    move: bool = False
    force: bool = False


class DetachVolume(Wish, frozen=True):
    """With `force` it is detached though its guest uses it, which loses what the guest has not written yet."""

    force: bool = False


class GrowVolume(Wish, frozen=True):
    """The new size; a volume never becomes smaller."""

    size_gib: SizeGib


class LimitVolume(Wish, frozen=True):
    """New limits; one that is left out stays."""

    disk_iops: Iops | None = None
    disk_mbps: Mbps | None = None


class VolumeQuery(PageQuery, frozen=True):
    state: VolumeState | None = None
    tag: Annotated[str, Meta(max_length=255)] = ""
    name: Reference = ""
    instance: Annotated[str, Meta(max_length=63, description="Name or id of an instance")] = ""


@dataclass(frozen=True)
class VolumeView:
    """A volume. `device` is where a guest with udev finds it while it is attached.

    `used_bytes` is what it takes of the host's disk; null when its node does not say.
    """

    id: str
    project: str
    name: str
    size_gib: int
    file_system: FileSystem
    state: VolumeState
    node: str
    instance_id: str | None
    device: str
    created_at: datetime
    updated_at: datetime
    tags: tuple[str, ...]
    protected: bool
    disk_iops: int
    disk_mbps: int
    problem: str
    used_bytes: int | None


_OWN_FIELDS = tuple(name for name in VolumeView.__dataclass_fields__ if name != "device")


def view(volume: Volume) -> VolumeView:
    """What callers see of a volume."""
    return VolumeView(device=device_path(volume.name), **{name: getattr(volume, name) for name in _OWN_FIELDS})
