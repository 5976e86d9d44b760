"""What callers wish for instances, and the checks that need nothing but the wish itself."""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass, field

from insula.control.actions.faults import Faults
from insula.control.actions.sizes import SizeWish
from insula.domain.fork import MAX_CHILDREN
from insula.domain.instance import (
    MAX_FORWARDS,
    Firmware,
    Identity,
    MachineType,
    Platform,
    PortForward,
    Protocol,
    RestartPolicy,
)
from insula.domain.names import check_hostname, check_name, check_tags

MAX_KEYS = 64
MAX_GRACEFUL_S = 3600.0
MIN_LEASE_S, MAX_LEASE_S = 10, 30 * 24 * 3600
_MAX_HOSTNAME_CHARS = 64  # Linux's limit for the whole name


@dataclass(frozen=True)
class CreateWish:
    """A new instance. `ssh_keys` are public keys or names of stored ones; an empty `hostname` means the name.

    With `lease_s` it is deleted so many seconds after its lease was renewed last. `cold` boots it from the image's own
    disk, also where it could go on from a template or from the memory of a snapshot.

    Empty `image` and `plan` are the defaults, or those of the `snapshot` that it goes on from or of the `backup` that
    it is restored from (names or ids). It is in the project's first network unless `network` (name or id) is another.
    `region` is where its guest is told that it is.
    """

    name: str
    image: str = ""
    plan: str = ""
    size: SizeWish = field(default_factory=SizeWish)
    ssh_keys: tuple[str, ...] = ()
    user_data: str = ""
    hostname: str = ""
    forwards: tuple[PortForward, ...] = ()
    tags: tuple[str, ...] = ()
    protected: bool = False
    lease_s: int | None = None
    firmware: Firmware = Firmware.AUTO
    machine_type: MachineType = MachineType.AUTO
    platform: Platform = Platform.AUTO
    region: str = ""
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    cold: bool = False
    snapshot: str = ""
    backup: str = ""
    network: str = ""


@dataclass(frozen=True)
class ChangeWish:
    """What may change without a restart; None leaves it."""

    name: str | None = None
    tags: tuple[str, ...] | None = None
    protected: bool | None = None


@dataclass(frozen=True)
class ResizeWish:
    """Another plan (empty: the present one) and departures from it."""

    plan: str = ""
    size: SizeWish = field(default_factory=SizeWish)


@dataclass(frozen=True)
class ForkWish:
    """`count` children, or those named in `names`, with identities of their own or the one that they come from."""

    count: int = 1
    names: tuple[str, ...] = ()
    identity: Identity = Identity.RENEW


@dataclass(frozen=True)
class RebuildWish:
    """A fresh disk; None keeps what the instance was created with."""

    image: str | None = None
    ssh_keys: tuple[str, ...] | None = None
    user_data: str | None = None


def check_create(wish: CreateWish, faults: Faults) -> None:
    """Note names, tags and ports in `wish` that no instance could ever have."""
    with faults.of("name"):
        check_name(wish.name)
    if wish.hostname:
        with faults.of("hostname"):
            check_hostname(wish.hostname)
        if len(wish.hostname) > _MAX_HOSTNAME_CHARS:
            faults.note("hostname", f"must have at most {_MAX_HOSTNAME_CHARS} characters")
    with faults.of("tags"):
        check_tags(wish.tags)
    check_forwards(wish.forwards, faults)
    if wish.lease_s is not None:
        check_lease(wish.lease_s, faults)
        if wish.protected:
            faults.note("lease_s", "must be left out: what is protected is not deleted, and a lease ends with that")


def check_lease(lease_s: int, faults: Faults) -> None:
    """Note a lease that is too short to be renewed in time, or too long to be one."""
    faults.between("lease_s", lease_s, MIN_LEASE_S, MAX_LEASE_S)


def check_fork(wish: ForkWish, faults: Faults) -> None:
    """Note numbers and names of children that cannot be."""
    faults.between("count", wish.count, 1, MAX_CHILDREN)
    if len(wish.names) > MAX_CHILDREN:
        faults.note("names", f"must be at most {MAX_CHILDREN}")
        return
    if wish.names and wish.count not in (1, len(wish.names)):
        faults.note("count", f"must be left out, or be the number of names, which is {len(wish.names)}")
    for index, name in enumerate(wish.names):
        with faults.of(f"names[{index}]"):
            check_name(name)
        if name in wish.names[:index]:
            faults.note(f"names[{index}]", f"{name} is wanted twice")


def check_forwards(forwards: tuple[PortForward, ...], faults: Faults) -> None:
    """Note ports and addresses that cannot be, and host ports wanted twice."""
    if len(forwards) > MAX_FORWARDS:
        faults.note("forwards", f"must be at most {MAX_FORWARDS}")
    wanted: Counter[tuple[str, int, Protocol]] = Counter()
    for index, forward in enumerate(forwards):
        where = f"forwards[{index}]"
        faults.between(f"{where}.guest_port", forward.guest_port, 1, 65535)
        faults.between(f"{where}.host_port", forward.host_port, 0, 65535)
        try:
            ipaddress.IPv4Address(forward.host_address)
        except ValueError:
            faults.note(f"{where}.host_address", "must be an IPv4 address of this host, e.g. 127.0.0.1 or 0.0.0.0")
        place = (forward.host_address, forward.host_port, forward.protocol)
        wanted[place] += 1
        if forward.host_port and wanted[place] > 1:
            faults.note(f"{where}.host_port", f"{forward.host_port} is wanted twice")
