"""The shapes of `/v1`: what requests may hold, and answers that differ from the domain's own values.

Bounds stand here so that the OpenAPI document is exact; the actions check them again for every other front end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Generic, TypeVar

from msgspec import Meta, Struct

from insula.control.actions.guest import MAX_LOG_BYTES, MAX_STDIN_BYTES, MAX_TIMEOUT_S, MIN_TIMEOUT_S
from insula.control.actions.sizes import (
    MAX_DISK_GIB,
    MAX_DISK_IOPS,
    MAX_DISK_MBPS,
    MAX_MEMORY_MIB,
    MAX_NETWORK_MBPS,
    MAX_NETWORK_PPS,
    MAX_VCPUS,
    MIN_DISK_GIB,
    MIN_MEMORY_MIB,
    SizeWish,
)
from insula.control.actions.wishes import (
    MAX_GRACEFUL_S,
    MAX_KEYS,
    MAX_LEASE_S,
    MIN_LEASE_S,
    ChangeWish,
    CreateWish,
    ForkWish,
    RebuildWish,
    ResizeWish,
)
from insula.domain.fork import MAX_CHILDREN
from insula.domain.image import DEFAULT_IMAGE
from insula.domain.instance import (
    MAX_FORWARDS,
    BootPhase,
    Firmware,
    Identity,
    Instance,
    InstanceState,
    MachineType,
    Platform,
    PortForward,
    Protocol,
    Resources,
    RestartPolicy,
)
from insula.domain.names import NAME_RULE
from insula.domain.operation import Operation, OperationState, Verb
from insula.domain.plan import DEFAULT_PLAN
from insula.domain.port import Port

_T = TypeVar("_T")

Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", description=NAME_RULE)]
Reference = Annotated[str, Meta(max_length=63, description="A name")]
Hostname = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*)?$",
        max_length=64,
        description="DNS labels joined by dots (RFC 1123)",
    ),
]
Tag = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_:.-]{1,255}$", description="1 to 255 of A-Z a-z 0-9 _ : . -")]
Tags = Annotated[list[Tag], Meta(max_length=50)]
Key = Annotated[str, Meta(min_length=1, max_length=16384, description="An SSH public key, or the name of a stored one")]
Keys = Annotated[list[Key], Meta(max_length=MAX_KEYS)]
UserData = Annotated[
    str, Meta(max_length=65536, description="cloud-config (#cloud-config), a script (#!…), at most 64 KiB")
]
Vcpus = Annotated[int, Meta(ge=1, le=MAX_VCPUS, description="Instead of the plan's number")]
MemoryMib = Annotated[int, Meta(ge=MIN_MEMORY_MIB, le=MAX_MEMORY_MIB, description="Instead of the plan's number")]
DiskGib = Annotated[int, Meta(ge=MIN_DISK_GIB, le=MAX_DISK_GIB, description="Instead of the plan's number")]
Iops = Annotated[int, Meta(ge=0, le=MAX_DISK_IOPS, description="Operations a second; 0 is unlimited")]
Mbps = Annotated[int, Meta(ge=0, le=MAX_DISK_MBPS, description="Megabytes a second; 0 is unlimited")]
NetworkMbps = Annotated[
    int, Meta(ge=0, le=MAX_NETWORK_MBPS, description="Megabits a second in each direction; 0 is unlimited")
]
NetworkPps = Annotated[
    int, Meta(ge=0, le=MAX_NETWORK_PPS, description="Packets a second in each direction; 0 is unlimited")
]
GracefulS = Annotated[
    float,
    Meta(ge=0, le=MAX_GRACEFUL_S, description="Seconds that the guest gets to stop by itself; 0: hard at once"),
]
LeaseS = Annotated[int, Meta(ge=MIN_LEASE_S, le=MAX_LEASE_S, description="Seconds, up to 30 days, unless renewed")]
GuestPath = Annotated[
    str,
    Meta(pattern=r"^/[^\u0000]*$", max_length=4096, description="Absolute path in the guest", examples=["/etc/motd"]),
]


class Wish(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request body or query; unknown fields are refused, so that a mistyped one is noticed."""


class Nothing(Wish, frozen=True):
    """No parameters."""


class Forward(Wish, frozen=True):
    """`host_address:host_port` on the host reaches `guest_port`; port 0 is replaced by a free one."""

    guest_port: Annotated[int, Meta(ge=1, le=65535)]
    host_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    host_address: Annotated[
        str,
        Meta(
            pattern=r"^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\.|$)){4}(?<!\.)$",
            description="An IPv4 address of this host",
            examples=["127.0.0.1", "0.0.0.0"],  # noqa: S104 - an example that a user may choose
        ),
    ] = "127.0.0.1"
    protocol: Protocol = Protocol.TCP

    def to_domain(self) -> PortForward:
        return PortForward(self.guest_port, self.host_port, self.host_address, self.protocol)


class ForwardQuery(Wish, frozen=True):
    """Which protocol the port is of."""

    protocol: Protocol = Protocol.TCP


class CreateInstance(Wish, frozen=True):
    """A new instance; it is started and `running` once its guest answers."""

    name: Name
    image: Annotated[str, Meta(max_length=73, description=f"{DEFAULT_IMAGE} unless it is given, or the snapshot's")] = (
        ""
    )
    plan: Annotated[str, Meta(max_length=63, description=f"{DEFAULT_PLAN} unless it is given, or the snapshot's")] = ""
    vcpus: Vcpus | None = None
    memory_mib: MemoryMib | None = None
    disk_gib: DiskGib | None = None
    ssh_keys: Keys = []
    user_data: UserData = ""
    hostname: Hostname = ""
    forwards: Annotated[list[Forward], Meta(max_length=MAX_FORWARDS)] = []
    tags: Tags = []
    protected: bool = False
    firmware: Firmware = Firmware.AUTO
    machine_type: MachineType = MachineType.AUTO
    platform: Platform = Platform.AUTO
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    lease_s: LeaseS | None = None
    cold: Annotated[bool, Meta(description="Boot, also where it could go on from a template or memory")] = False
    snapshot: Annotated[str, Meta(max_length=63, description="Name or id of a snapshot that it goes on from")] = ""
    backup: Annotated[str, Meta(max_length=63, description="Name or id of a backup that it is restored from")] = ""
    network: Annotated[str, Meta(max_length=63, description="Name or id of its network; the first one otherwise")] = ""

    def to_wish(self) -> CreateWish:
        return CreateWish(
            name=self.name,
            image=self.image,
            plan=self.plan,
            size=SizeWish(self.vcpus, self.memory_mib, self.disk_gib),
            ssh_keys=tuple(self.ssh_keys),
            user_data=self.user_data,
            hostname=self.hostname,
            forwards=tuple(forward.to_domain() for forward in self.forwards),
            tags=tuple(self.tags),
            protected=self.protected,
            firmware=self.firmware,
            machine_type=self.machine_type,
            platform=self.platform,
            restart_policy=self.restart_policy,
            lease_s=self.lease_s,
            cold=self.cold,
            snapshot=self.snapshot,
            backup=self.backup,
            network=self.network,
        )


class ChangeInstance(Wish, frozen=True):
    """What changes at once, without a restart; fields left out stay."""

    name: Name | None = None
    tags: Tags | None = None
    protected: bool | None = None

    def to_wish(self) -> ChangeWish:
        return ChangeWish(self.name, None if self.tags is None else tuple(self.tags), self.protected)


class LeaseInstance(Wish, frozen=True):
    """How long the lease lasts from now on; null takes it off."""

    lease_s: LeaseS | None


class StartInstance(Wish, frozen=True):
    """Whether a hibernated instance boots from its disk, which loses what was in its memory."""

    cold: bool = False


class StopInstance(Wish, frozen=True):
    """How long the guest may take."""

    graceful_s: GracefulS = 30.0


class ForkInstance(Wish, frozen=True):
    """How many children, or their names; with the identity `keep` they are the same guest, and have no network."""

    count: Annotated[int, Meta(ge=1, le=MAX_CHILDREN)] = 1
    names: Annotated[list[Name], Meta(max_length=MAX_CHILDREN)] = []
    identity: Identity = Identity.RENEW

    def to_wish(self) -> ForkWish:
        return ForkWish(self.count, tuple(self.names), self.identity)


class ResizeInstance(Wish, frozen=True):
    """Another plan, or numbers; the disk stays unless `disk_gib` asks for more."""

    plan: Annotated[str, Meta(max_length=63)] = ""
    vcpus: Vcpus | None = None
    memory_mib: MemoryMib | None = None
    disk_gib: DiskGib | None = None
    disk_iops: Iops | None = None
    disk_mbps: Mbps | None = None
    network_mbps: NetworkMbps | None = None
    network_pps: NetworkPps | None = None

    def to_wish(self) -> ResizeWish:
        size = SizeWish(
            vcpus=self.vcpus,
            memory_mib=self.memory_mib,
            disk_gib=self.disk_gib,
            disk_iops=self.disk_iops,
            disk_mbps=self.disk_mbps,
            network_mbps=self.network_mbps,
            network_pps=self.network_pps,
        )
        return ResizeWish(self.plan, size)


class RebuildInstance(Wish, frozen=True):
    """A fresh disk; what is left out stays as it was at creation. The old disk is lost."""

    image: Annotated[str, Meta(min_length=1, max_length=73)] | None = None
    ssh_keys: Keys | None = None
    user_data: UserData | None = None

    def to_wish(self) -> RebuildWish:
        return RebuildWish(self.image, None if self.ssh_keys is None else tuple(self.ssh_keys), self.user_data)


class Execute(Wish, frozen=True):
    """A program to run as root in the guest. `stdin` is base64."""

    argv: Annotated[list[str], Meta(min_length=1, max_length=4096)]
    stdin: Annotated[bytes, Meta(max_length=MAX_STDIN_BYTES)] = b""
    timeout_s: Annotated[float, Meta(ge=MIN_TIMEOUT_S, le=MAX_TIMEOUT_S)] = 60.0


class SetHostname(Wish, frozen=True):
    hostname: Annotated[Hostname, Meta(min_length=1)]


class Repair(Wish, frozen=True):
    """Whether what is found is removed as well."""

    remove: bool = True


class PageQuery(Wish, frozen=True):
    """Which part of a list: `next_after` of one answer is `after` of the next request."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    after: Annotated[str, Meta(max_length=128)] = ""


class InstanceQuery(PageQuery, frozen=True):
    state: InstanceState | None = None
    tag: Annotated[str, Meta(max_length=255)] = ""
    image: Reference = ""
    plan: Reference = ""
    name: Reference = ""


class OperationQuery(PageQuery, frozen=True):
    state: OperationState | None = None
    verb: Verb | None = None
    target: Annotated[str, Meta(max_length=63, description="Id of what it works on, or name of an image")] = ""


class FileQuery(Wish, frozen=True):
    path: GuestPath


class WriteFileQuery(FileQuery, frozen=True):
    mode: Annotated[str, Meta(pattern="^[0-7]{3,4}$", description="Octal permissions")] = "644"


class LogQuery(Wish, frozen=True):
    max_bytes: Annotated[int, Meta(ge=1, le=MAX_LOG_BYTES)] = 65536


@dataclass(frozen=True)
class InstanceView:
    """An instance. `ssh_port` is the host's port that reaches the guest's port 22. User-data is not shown."""

    id: str
    project: str
    name: str
    state: InstanceState
    image: str
    plan: str
    resources: Resources
    hostname: str
    mac: str
    node: str
    created_at: datetime
    updated_at: datetime
    ssh_keys: tuple[str, ...]
    forwards: tuple[PortForward, ...]
    ssh_port: int | None
    tags: tuple[str, ...]
    protected: bool
    firmware: Firmware
    machine_type: MachineType
    platform: Platform
    restart_policy: RestartPolicy
    boot_phases: tuple[BootPhase, ...]
    problem: str
    started_at: datetime | None
    restarts: int
    lease_s: int | None
    lease_until: datetime | None
    snapshot_id: str | None
    ports: tuple[Port, ...]


_VIEW_FIELDS = tuple(InstanceView.__dataclass_fields__)


def view(instance: Instance) -> InstanceView:
    """What callers see of an instance."""
    return InstanceView(**{name: getattr(instance, name) for name in _VIEW_FIELDS})


def without_secrets(operation: Operation) -> Operation:
    """An operation as callers see it: user-data may hold passwords."""
    if "user_data" not in operation.params:
        return operation
    return replace(operation, params={name: value for name, value in operation.params.items() if name != "user_data"})


class PageOf(Struct, Generic[_T], frozen=True, kw_only=True):
    """A part of a list. `next_after` and `next` are null at its end."""

    items: Sequence[_T]
    next_after: str | None = None
    next: str | None = None


class ListOf(Struct, Generic[_T], frozen=True):
    """A whole list."""

    items: Sequence[_T]


class Authority(Struct, frozen=True):
    """Whom clients trust to reach the service over HTTPS."""

    certificate: str  # PEM


class Health(Struct, frozen=True):
    status: str
    version: str


class Written(Struct, frozen=True):
    size_bytes: int
