"""The doctor's look at the host: what it can do, what is wrong, how to mend it. Starts nothing that stays."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from insula.base.errors import CommandFailed, CommandMissing, HostFailure
from insula.base.run import find_program, run
from insula.domain.capacity import DiskRoom, disk_room
from insula.node.agent import disk_watch
from insula.node.agent.host import available_memory_mib, disk_usage, memory_mib
from insula.node.network import capabilities
from insula.node.network.wiring import InstanceNetwork
from insula.protocol.node import Check

_GIB = 1024**3
_TRY_S = 10.0
_DISK_VERDICTS = {DiskRoom.ENOUGH: "ok", DiskRoom.LOW: "note", DiskRoom.SHORT: "problem"}
_LEAST_MEMORY_MIB = 512
_IN_NAMESPACE = ("unshare", "--user", "--map-root-user", "--net", "--")

_PROGRAMS = ("qemu-img", "setpriv", "unshare", "nsenter", "ip", "tc", "nft", "dnsmasq", "mmdebstrap")

# What a kernel may lack, tried in a namespace of its own: name → (command, what is lost without it).
_KERNEL_PARTS = {
    "VLAN": (("ip", "link", "add", "link", "lo", "name", "v0", "type", "vlan", "id", "2"), "VLANs on bridges"),
    "WireGuard": (("ip", "link", "add", "w0", "type", "wireguard"), "encrypted links between nodes"),
    "fq_codel": (("tc", "qdisc", "replace", "dev", "lo", "root", "fq_codel"), "fair queues under load"),
}


DriverChecks = Callable[[], Awaitable[Sequence[Check]]]


async def examine(folder: Path, network: InstanceNetwork, driver_checks: DriverChecks | None) -> Sequence[Check]:
    """All checks of the node, each with its verdict; `driver_checks` are what the hypervisor's driver adds."""
    usage = await asyncio.to_thread(disk_usage, folder)
    tried = await asyncio.gather(namespace_check(), *(_kernel_check(name) for name in _KERNEL_PARTS))
    return [
        memory_check(memory_mib(), available_memory_mib()),
        disk_check(folder, usage),
        *(program_check(name) for name in _PROGRAMS),
        *network_checks(network),
        *await capabilities.try_networks(),
        subuid_check(_user_name(), Path("/etc/subuid")),
        *tried,
        *(await driver_checks() if driver_checks is not None else ()),
    ]


def memory_check(total_mib: int, available_mib: int) -> Check:
    """Whether an ordinary instance finds memory."""
    detail = f"{available_mib} MiB of {total_mib} MiB are free"
    if available_mib < _LEAST_MEMORY_MIB:
        return Check("memory", "problem", detail, "Stop instances or other programs, or add memory")
    return Check("memory", "ok", detail)


def disk_check(folder: Path, usage: tuple[int, int, int]) -> Check:
    """Whether there is room for images and growing disks."""
    total, _, free = usage
    detail = f"{free / _GIB:.1f} GiB of {total / _GIB:.1f} GiB are free where {folder} lies"
    room = disk_room(free / _GIB)
    return Check("disk", _DISK_VERDICTS[room], detail, "" if room is DiskRoom.ENOUGH else disk_watch.TODO)


def program_check(name: str) -> Check:
    """Whether a program that the node starts is installed."""
    try:
        return Check(f"program {name}", "ok", find_program(name))
    except CommandMissing as error:
        return Check(f"program {name}", "problem", error.why, error.todo)


def network_checks(network: InstanceNetwork) -> list[Check]:
    """Which way instances are connected, and what that way lacks here."""
    lacks = [Check(f"network: {what}", "note", why) for what, why in network.missing().items()]
    verdict = "problem" if "network" in network.missing() else "ok"
    return [Check("network", verdict, f"Instances are connected by way of {network.name}"), *lacks]


def subuid_check(user: str, table: Path) -> Check:
    """Whether an ordinary user may build images: mmdebstrap needs a range of user ids."""
    if os.geteuid() == 0:
        return Check("user ids", "ok", "As root all user ids may be used")
    try:
        lines = table.read_text().splitlines()
    except OSError:
        lines = []
    if any(line.split(":")[0] in {user, str(os.getuid())} for line in lines):
        return Check("user ids", "ok", f"{table} gives {user} a range")
    todo = f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
    return Check("user ids", "problem", f"{table} gives {user} no range, so no image can be built", todo)


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user without a name, as in some containers
        return str(os.getuid())


async def namespace_check() -> Check:
    """Whether user and network namespaces can be made: jail and networks need them."""
    try:
        await run([*_IN_NAMESPACE, "true"], timeout_s=_TRY_S)
    except CommandMissing as error:
        return Check("namespaces", "problem", error.why, error.todo)
    except CommandFailed as error:
        return Check("namespaces", "problem", error.why, _namespace_todo(Path("/proc/sys")))
    return Check("namespaces", "ok", "User and network namespaces can be made")


def _namespace_todo(sysctl: Path) -> str:
    switches = (
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("user/max_user_namespaces", "0", "15000"),
    )
    for name, bad, good in switches:
        file = sysctl / name
        if file.exists() and file.read_text().strip() == bad:
            return f"sudo sysctl -w {name.replace('/', '.')}={good}"
    return "Allow user namespaces on this host; a container needs to be started with them"


async def _kernel_check(name: str) -> Check:
    command, lost = _KERNEL_PARTS[name]
    try:
        await run([*_IN_NAMESPACE, *command], timeout_s=_TRY_S)
    except HostFailure:
        return Check(f"kernel: {name}", "note", f"This kernel has no {name}; later this costs {lost}")
    return Check(f"kernel: {name}", "ok", "present")
