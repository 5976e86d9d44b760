"""Images: bootable, read-only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from insula.domain.instance import Firmware, MachineType, Platform

DEFAULT_IMAGE = "debian-12"


class ImageState(StrEnum):
    ABSENT = "absent"  # in the catalogue, not on this node yet
    BUILDING = "building"  # being built, downloaded or imported
    READY = "ready"
    FAILED = "failed"


class ImageSource(StrEnum):
    BUILT = "built"  # made here from a distribution's signed packages
    DOWNLOADED = "downloaded"  # a vendor's cloud image, verified
    IMPORTED = "imported"  # a file that a user gave us
    PUBLISHED = "published"  # made of an instance's disk; belongs to a project


class Provisioning(StrEnum):
    """How a guest learns its keys, host name and user-data."""

    INSULA = "insula"  # our small first-boot unit; cloud-init as well when there is user-data
    CLOUD_INIT = "cloud-init"  # a NoCloud seed, or the metadata of the platform that it thinks to be on
    NONE = "none"


@dataclass(frozen=True)
class ImageTemplate:
    """A guest that was frozen when it was ready; new instances of this size go on from it.

    `used_at` is when one did so last, or when it was made; `in_memory` says that its memory is in the host's.
    """

    vcpus: int
    memory_mib: int
    disk_gib: int
    made_at: datetime
    used_at: datetime
    size_bytes: int
    in_memory: bool


@dataclass(frozen=True)
class Image:
    """An image as the catalogue and the node describe it. `size_bytes` is what its files occupy on the node.

    `templates` are those of the node, the latest used first. `platform` is what its machines say of themselves,
    unless their instances are given another one. The rest is for published images only: `version` counts from 1, and
    whom it is shared with is told to its own project alone.
    """

    name: str
    title: str
    source: ImageSource
    state: ImageState
    provisioning: Provisioning
    has_agent: bool
    firmware: Firmware
    machine_type: MachineType
    min_memory_mib: int
    min_disk_gib: int
    size_bytes: int = 0
    version: str = ""
    made_at: datetime | None = None
    problem: str = ""
    templates: tuple[ImageTemplate, ...] = ()
    id: str = ""
    project: str = ""
    deprecated: bool = False
    shared_with: tuple[str, ...] = ()
    shared_with_all: bool = False
    platform: Platform = Platform.NOCLOUD

    @property
    def key(self) -> str:
        """What instances of it record, and what the node knows it by."""
        return self.id or self.name

    @property
    def reference(self) -> str:
        """What people name exactly this one by."""
        return f"{self.name}@{self.version}" if self.id else self.name
