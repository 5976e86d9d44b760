"""What a node has, what is promised, what is left."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from insula.domain.ids import Kind, is_id
from insula.domain.instance import Resources


@dataclass(frozen=True)
class Amount:
    """Total as promised to instances after reserve and over-commitment, what is taken, in the resource's own unit."""

    total: float
    used: float

    @property
    def free(self) -> float:
        return self.total - self.used


@dataclass(frozen=True)
class Share:
    """A part of a host's memory and processors, the latter in percent of one core."""

    memory_mib: int = 0
    cpu_percent: int = 0

    def __add__(self, other: Share) -> Share:
        return Share(self.memory_mib + other.memory_mib, self.cpu_percent + other.cpu_percent)


class DiskRoom(StrEnum):
    """How much of a host's disk is free for what guests have yet to write."""

    ENOUGH = "enough"
    LOW = "low"
    SHORT = "short"


_LOW_GIB, _SHORT_GIB = 5.0, 1.0


def disk_room(free_gib: float) -> DiskRoom:
    """What so many free GiB are."""
    if free_gib < _SHORT_GIB:
        return DiskRoom.SHORT
    return DiskRoom.LOW if free_gib < _LOW_GIB else DiskRoom.ENOUGH


@dataclass(frozen=True)
class Capacity:
    """`cpu_percent` in percent of one core, `memory_mib`, `disk_gib`; `physical_*` are the host's bare numbers.

    `templates` is what making a template takes that somebody asked for; it is part of what is used. `spare` is what
    templates take beside that; it is not, since it is given back before an instance's machine starts. `forks` is the
    memory that forks hold until their children are there; it is part of what is used. `written_*` is what disks of
    instances and volumes take of the host's disk by now; they are promised more.
    """

    node: str
    cpu_percent: Amount
    memory_mib: Amount
    disk_gib: Amount
    physical_cores: int
    physical_memory_mib: int
    physical_disk_free_gib: float
    reserve_memory_mib: int
    instances: int
    templates: Share = Share()
    spare: Share = Share()
    forks: Share = Share()
    physical_disk_gib: float = 0.0
    written_instances_gib: float = 0.0
    written_volumes_gib: float = 0.0

    @property
    def disk_room(self) -> DiskRoom:
        """Whether the host's disk is about to be full."""
        return disk_room(self.physical_disk_free_gib)


@dataclass(frozen=True)
class Claim:
    """What an instance or a volume takes of its node: while it is resized, the larger of old and new.

    A volume takes disk only. `owner_id` tells which of both it is.
    """

    owner_id: str
    node: str
    resources: Resources

    @property
    def is_volume(self) -> bool:
        return is_id(self.owner_id, Kind.VOLUME)
