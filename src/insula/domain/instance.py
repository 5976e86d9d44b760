"""Instances: what a customer gets. States, their legal transitions, and the wishes that make one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from insula.base.clock import now_utc
from insula.base.errors import Conflict
from insula.domain.port import Port


class InstanceState(StrEnum):
    CREATING = "creating"
    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"  # stands still in the host's memory
    RESUMING = "resuming"
    HIBERNATING = "hibernating"
    FORKING = "forking"  # goes on meanwhile
    HIBERNATED = "hibernated"  # its memory is in a file; a start goes on from there
    STOPPING = "stopping"
    STOPPED = "stopped"
    REBOOTING = "rebooting"
    RESIZING = "resizing"
    REBUILDING = "rebuilding"
    REVERTING = "reverting"  # to a snapshot
    DELETING = "deleting"
    FAILED = "failed"  # the machine ended or never became ready, and no restart policy helps


_S = InstanceState

# Every legal change of state. An operation that undoes itself returns to where it began, hence the ways back.
TRANSITIONS: Mapping[InstanceState, frozenset[InstanceState]] = {
    _S.CREATING: frozenset({_S.RUNNING, _S.STOPPED, _S.FAILED, _S.DELETING}),
    # Also observed without an operation, when a guest restarts itself: then everything may be asked of it.
    _S.STARTING: frozenset(
        {
            *(_S.RUNNING, _S.STOPPED, _S.FAILED, _S.HIBERNATED, _S.PAUSED),
            *(_S.STOPPING, _S.REBOOTING, _S.RESIZING, _S.REBUILDING, _S.DELETING),
        }
    ),
    _S.RUNNING: frozenset(
        {
            *(_S.STOPPING, _S.STOPPED, _S.REBOOTING, _S.RESIZING, _S.REBUILDING, _S.DELETING, _S.FAILED, _S.STARTING),
            *(_S.PAUSING, _S.PAUSED, _S.HIBERNATING, _S.HIBERNATED, _S.FORKING, _S.REVERTING),
        }
    ),
    _S.PAUSING: frozenset({_S.PAUSED, _S.RUNNING, _S.STOPPED, _S.FAILED}),
    _S.PAUSED: frozenset(
        {
            *(_S.RESUMING, _S.HIBERNATING, _S.STOPPING, _S.DELETING, _S.FORKING),
            *(_S.RUNNING, _S.STARTING, _S.HIBERNATED, _S.STOPPED, _S.FAILED),
        }
    ),
    _S.FORKING: frozenset({_S.RUNNING, _S.PAUSED, _S.STOPPED, _S.FAILED}),
    _S.RESUMING: frozenset({_S.RUNNING, _S.PAUSED, _S.STOPPED, _S.FAILED}),
    _S.HIBERNATING: frozenset({_S.HIBERNATED, _S.RUNNING, _S.PAUSED, _S.STOPPED, _S.FAILED}),
    _S.HIBERNATED: frozenset({_S.STARTING, _S.PAUSED, _S.DELETING, _S.RUNNING, _S.STOPPED, _S.FAILED}),
    _S.STOPPING: frozenset({_S.STOPPED, _S.RUNNING, _S.PAUSED, _S.FAILED}),
    _S.STOPPED: frozenset(
        {
            *(_S.STARTING, _S.RESIZING, _S.REBUILDING, _S.REVERTING, _S.DELETING),
            *(_S.RUNNING, _S.PAUSED, _S.HIBERNATED, _S.FAILED),
        }
    ),
    _S.REBOOTING: frozenset({_S.RUNNING, _S.FAILED, _S.STOPPED}),
    _S.RESIZING: frozenset({_S.RUNNING, _S.STOPPED, _S.FAILED}),
    _S.REBUILDING: frozenset({_S.RUNNING, _S.STOPPED, _S.FAILED}),
    _S.REVERTING: frozenset({_S.RUNNING, _S.STOPPED, _S.FAILED}),
    _S.DELETING: frozenset({_S.STOPPED, _S.RUNNING, _S.PAUSED, _S.HIBERNATED, _S.FAILED}),
    _S.FAILED: frozenset(
        {
            _S.PAUSED,
            _S.HIBERNATED,
            _S.STARTING,
            _S.STOPPED,
            _S.RUNNING,
            _S.RESIZING,
            _S.REBUILDING,
            _S.REVERTING,
            _S.DELETING,
            _S.STOPPING,
        }
    ),
}


# What a command does to an instance, by the state that it puts it into.
_DONE: Mapping[InstanceState, str] = {
    _S.STARTING: "started",
    _S.STOPPING: "stopped",
    _S.REBOOTING: "rebooted",
    _S.PAUSING: "paused",
    _S.RESUMING: "resumed",
    _S.HIBERNATING: "hibernated",
    _S.FORKING: "forked",
    _S.RESIZING: "resized",
    _S.REBUILDING: "rebuilt",
    _S.REVERTING: "reverted",
    _S.DELETING: "deleted",
}


def check_transition(name: str, current: InstanceState, wanted: InstanceState) -> None:
    """Raise :class:`Conflict` unless an instance may go from `current` to `wanted`."""
    allowed = TRANSITIONS[current]
    if wanted not in allowed:
        possible = " or ".join(done for state, done in _DONE.items() if state in allowed)
        raise Conflict(
            f"Instance {name} cannot be {_DONE.get(wanted, wanted)} now",
            why=f"It is {current}; as such it can be {possible}" if possible else f"It is {current}",
            todo=f"Look at it with `insula show {name}` and try again when its state fits",
            code="wrong-state",
        )


class Identity(StrEnum):
    """What becomes of a guest's keys, names, random numbers and addresses when it is forked."""

    RENEW = "renew"  # a child is somebody of its own
    KEEP = "keep"  # a child is the same once more, and has no network


class Firmware(StrEnum):
    AUTO = "auto"  # what the image asks for
    BIOS = "bios"
    UEFI = "uefi"


class MachineType(StrEnum):
    AUTO = "auto"  # what the image asks for, q35 otherwise
    Q35 = "q35"
    MICROVM = "microvm"


class Platform(StrEnum):
    """What a machine says of itself to its guest, from which cloud-init concludes where its data is."""

    AUTO = "auto"  # what the image asks for
    NOCLOUD = "nocloud"  # nothing: the guest finds a seed
    DIGITALOCEAN = "digitalocean"
    AKAMAI = "akamai"
    EC2 = "ec2"


class RestartPolicy(StrEnum):
    ALWAYS = "always"  # start again when the machine dies; not after a shutdown from inside or by command
    NEVER = "never"


class Protocol(StrEnum):
    TCP = "tcp"
    UDP = "udp"


MAX_FORWARDS = 64


@dataclass(frozen=True)
class PortForward:
    """`host_address:host_port` on the node reaches `guest_port` in the guest. Port 0 is replaced by a free one."""

    guest_port: int
    host_port: int = 0
    host_address: str = "127.0.0.1"
    protocol: Protocol = Protocol.TCP


@dataclass(frozen=True)
class BootPhase:
    """One phase of a boot; `took_ms` is its length, `started_ms` its begin after the machine's start."""

    name: str  # firmware, kernel, init, network, cloud-init, ready; wake or renew instead of a boot
    started_ms: int
    took_ms: int


@dataclass(frozen=True)
class Resources:
    """What a plan came to for one instance; see :class:`insula.domain.plan.Plan` for the units."""

    vcpus: int
    memory_mib: int
    disk_gib: int
    cpu_percent: int
    cpu_weight: int = 100
    disk_iops: int = 0
    disk_mbps: int = 0
    network_mbps: int = 0
    network_pps: int = 0


@dataclass(frozen=True)
class Instance:
    """An instance as control records it."""

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
    ssh_keys: tuple[str, ...] = ()
    user_data: str = ""
    forwards: tuple[PortForward, ...] = ()
    tags: tuple[str, ...] = ()
    protected: bool = False
    firmware: Firmware = Firmware.AUTO
    machine_type: MachineType = MachineType.AUTO
    platform: Platform = Platform.AUTO
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    boot_phases: tuple[BootPhase, ...] = ()
    problem: str = ""  # why it is FAILED, or what the last boot lacked
    started_at: datetime | None = None
    restarts: int = 0
    lease_s: int | None = None  # how long its lease lasts once it is renewed; None: it stays until it is deleted
    lease_until: datetime | None = None  # None exactly when `lease_s` is
    snapshot_id: str | None = None  # that its disk went on from last
    ports: tuple[Port, ...] = ()  # of its network cards; without one it is cut off from everything
    number: int = 0  # what clients of other vendors' APIs, and its guest, know it by; its own for ever
    region: str = ""  # where its guest is told that it is; empty: what its platform has first

    @property
    def ssh_port(self) -> int | None:
        """The host port that reaches the guest's port 22, if any."""
        return next((f.host_port for f in self.forwards if f.guest_port == 22 and f.protocol is Protocol.TCP), None)

    @property
    def limited_ports(self) -> tuple[Port, ...]:
        """With the limits that come with its size."""
        size = self.resources
        return tuple(
            replace(port, megabits_per_second=size.network_mbps, packets_per_second=size.network_pps)
            for port in self.ports
        )


def lease_end(lease_s: int | None) -> datetime | None:
    """Until when a lease lasts that is given or renewed now; None is no lease."""
    return None if lease_s is None else now_utc() + timedelta(seconds=lease_s)


def way_to_run(instance: Instance) -> str:
    """The command that makes an instance run which does not."""
    verb = "resume" if instance.state is InstanceState.PAUSED else "start"
    return f"insula {verb} {instance.name}"
