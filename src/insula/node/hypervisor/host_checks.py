"""What the doctor says about this host as a place for machines."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from insula.base.errors import CommandMissing, HostFailure, InsulaError, Unsupported
from insula.base.run import SEARCH_PATH, run
from insula.node.hypervisor.kvm.verdict import Case, Verdict
from insula.node.hypervisor.qemu.argv import PROGRAM
from insula.node.hypervisor.qemu.firmware import find_uefi
from insula.node.runtime.cgroups import Cgroups
from insula.node.runtime.jail import Jail, confined
from insula.node.runtime.uids import FIRST_UID, UidRange
from insula.protocol.node import Check

OK, NOTE, PROBLEM = "ok", "note", "problem"
_OLDEST_QEMU = (7, 2)
_TIMEOUT_S = 15.0
_APPARMOR_SWITCH = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_DEBIAN_SWITCH = Path("/proc/sys/kernel/unprivileged_userns_clone")
_NAMESPACE_LIMIT = Path("/proc/sys/user/max_user_namespaces")


async def host_checks(cgroups: Cgroups, kvm: Verdict) -> Sequence[Check]:
    """All of them; none raises, none changes anything. `kvm` is the driver's `kvm_verdict()`."""
    return [
        check_kvm(kvm),
        await check_qemu(),
        check_uefi(),
        check_tpm(),
        await check_jail(),
        check_users(),
        check_cgroups(cgroups),
        check_seccomp(),
        check_vhost_net(kvm),
    ]


def check_kvm(verdict: Verdict) -> Check:
    if verdict.is_usable:
        return Check("kvm", OK, verdict.explanation, verdict.todo)
    severity = NOTE if verdict.case in {Case.ABSENT, Case.PVM, Case.CLOSED} else PROBLEM
    return Check("kvm", severity, verdict.explanation, verdict.todo)


async def check_qemu() -> Check:
    try:
        done = await run([PROGRAM, "--version"], timeout_s=_TIMEOUT_S)
    except CommandMissing as error:
        return Check("qemu", PROBLEM, error.what, error.todo)
    except InsulaError as error:
        return Check(
            "qemu", PROBLEM, str(error), "Install QEMU again: sudo apt-get install --reinstall qemu-system-x86"
        )
    found = re.search(r"version (\d+)\.(\d+)(\S*)", done.text)
    if found is None:
        return Check("qemu", PROBLEM, f"it does not tell its version: {done.text[:80]!r}", "Install QEMU 7.2 or newer")
    if (int(found.group(1)), int(found.group(2))) < _OLDEST_QEMU:
        return Check("qemu", PROBLEM, f"QEMU {found.group(0)[8:]} is too old", "Install QEMU 7.2 or newer")
    return Check("qemu", OK, f"QEMU {found.group(0)[8:]}")


def check_uefi() -> Check:
    try:
        return Check("uefi", OK, str(find_uefi().code))
    except Unsupported as error:
        return Check("uefi", NOTE, error.what, error.todo)


def check_tpm() -> Check:
    found = shutil.which("swtpm", path=SEARCH_PATH)
    if found is None:
        return Check("tpm", NOTE, "guests cannot have a TPM: swtpm is not installed", "sudo apt-get install swtpm")
    return Check("tpm", OK, found)


async def check_jail() -> Check:
    """Builds a real jail, as an unprivileged user where machines run as one, and runs a program in it."""
    uid = FIRST_UID if UidRange.is_usable() else None
    try:
        await run(confined(["true"], Jail(uid=uid)), timeout_s=_TIMEOUT_S)
    except CommandMissing as error:
        return Check("jail", PROBLEM, error.what, error.todo)
    except HostFailure as error:
        return Check("jail", PROBLEM, f"bubblewrap cannot confine machines: {error.why}", mend_namespaces())
    return Check("jail", OK, "bubblewrap confines machines in namespaces of their own")


def mend_namespaces() -> str:
    """How to let bubblewrap use user namespaces on this host, by the switch that forbids them."""
    if _reads(_APPARMOR_SWITCH, "1"):
        # Ubuntu 24.04 lets only programs with an AppArmor profile make user namespaces.
        profile = "abi <abi/4.0>, include <tunables/global> profile bwrap /usr/bin/bwrap flags=(unconfined) { userns, }"
        return (
            f"AppArmor restricts user namespaces. Allow bubblewrap: write `{profile}` to /etc/apparmor.d/bwrap, then "
            "sudo apparmor_parser -r /etc/apparmor.d/bwrap"
        )
    if _reads(_DEBIAN_SWITCH, "0"):
        return "Allow user namespaces: sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if _reads(_NAMESPACE_LIMIT, "0"):
        return "Allow user namespaces: sudo sysctl -w user.max_user_namespaces=15000"
    return "In a container, start it with user namespaces allowed (e.g. Docker's --security-opt seccomp=unconfined)"


def _reads(switch: Path, value: str) -> bool:
    try:
        return switch.read_text().strip() == value
    except OSError:
        return False


def check_users() -> Check:
    if UidRange.is_usable():
        return Check("users", OK, "each machine runs as an unprivileged user of its own")
    if os.geteuid() == 0:
        detail = f"user ids from {FIRST_UID} on are not mapped here, so all machines run as this user"
        return Check("users", NOTE, detail, "Map the whole range of user ids into this container")
    detail = "all machines run as this user, apart only by their jails"
    return Check("users", NOTE, detail, "Run the service as root to give each machine its own user")


def check_cgroups(cgroups: Cgroups) -> Check:
    if not cgroups.missing:
        return Check("cgroups", OK, f"{cgroups.kind}: CPU, memory and process limits hold")
    lacking = "; ".join(f"no {name} limits: {why}" for name, why in sorted(cgroups.missing.items()))
    todo = "Run the service as root, or with systemd and Delegate=yes"
    return Check("cgroups", NOTE, f"{cgroups.kind}: {lacking}", todo)


def check_seccomp() -> Check:
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    if actions.exists() and "kill_process" in actions.read_text():
        return Check("seccomp", OK, "the kernel filters machines' system calls")
    return Check("seccomp", PROBLEM, "this kernel has no seccomp filters", "Boot a kernel with CONFIG_SECCOMP_FILTER")


def check_vhost_net(kvm: Verdict) -> Check:
    if Path("/dev/vhost-net").exists():
        return Check("vhost-net", OK, "/dev/vhost-net is there")
    todo = "sudo modprobe vhost_net" if kvm.is_usable else ""
    return Check("vhost-net", NOTE, "no /dev/vhost-net: QEMU moves network packets itself, which is slower", todo)
