"""The `debian-12` image: a whole Debian server that starts as fast as an emulated CPU lets it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from insula.base.errors import CommandFailed, CommandMissing, Unsupported
from insula.base.run import find_program, run
from insula.domain.image import ImageSource, Provisioning
from insula.domain.instance import Firmware, MachineType
from insula.node.storage.making import Made
from insula.node.storage.manifest import DISK_FILE, ImageFacts
from insula.node.storage.recipes.digest import recipe_digest
from insula.node.storage.recipes.filesystem import make_disk
from insula.node.storage.recipes.initrd import ROOT_LABEL
from insula.node.storage.recipes.kernel import take_kernel
from insula.node.storage.recipes.packages import Suite, check_keyring, host_policy
from insula.node.storage.recipes.reseed import RESEED, reseed_program
from insula.node.storage.recipes.tree import SHELL, install, link, overlay, remove
from insula.node.storage.staging import am_root, remove_tree, user_namespace
from insula.protocol.node import Progress

_SUITE = Suite("bookworm")
_DISK_MIB = 3072
_TIMEOUT_S = 3000.0

# The base of every Debian (essential and required) comes by itself.
_PACKAGES = (
    *("linux-image-amd64", "busybox-static", "kmod", "udev"),
    *("systemd", "systemd-sysv", "systemd-resolved", "systemd-timesyncd", "dbus", "libpam-systemd", "libnss-systemd"),
    *("openssh-server", "openssh-client", "openssh-sftp-server", "cloud-init", "qemu-guest-agent"),
    *("apt", "apt-utils", "ca-certificates", "debian-archive-keyring", "sudo", "tzdata", "netbase"),
    *("iproute2", "iputils-ping", "procps", "psmisc", "less", "nano", "curl", "wget", "bash-completion"),
    *("e2fsprogs", "xfsprogs", "fdisk", "xz-utils", "file", "rsync"),
)

# Not unpacked: translations of messages and pages, which a server in C.UTF-8 never shows. Documentation stays.
_PATH_OPTIONS = (
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/man/??/*",
    "path-exclude=/usr/share/man/??_*/*",
)

# Units that do nothing for a virtual server, or wake it up at random hours; `systemctl unmask` brings one back.
_MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"),
    *("e2scrub_reap.service", "getty@tty1.service", "systemd-pstore.service", "systemd-update-utmp-runlevel.service"),
    *("systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount", "proc-sys-fs-binfmt_misc.mount"),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount", "sys-fs-fuse-connections.mount"),
    *("modprobe@configfs.service", "modprobe@drm.service", "modprobe@efi_pstore.service", "modprobe@fuse.service"),
    *("modprobe@dm_mod.service", "modprobe@loop.service", "kmod-static-nodes.service", "systemd-firstboot.service"),
    *("systemd-machine-id-commit.service", "systemd-repart.service", "systemd-pcrphase.service"),
    *("systemd-pcrphase-sysinit.service", "systemd-sysusers.service", "systemd-update-utmp.service"),
)

# Generators that look for partitions, encrypted disks, old init scripts and the like at every boot.
_MASKED_GENERATORS = (
    *("systemd-cryptsetup-generator", "systemd-gpt-auto-generator", "systemd-hibernate-resume-generator"),
    *("systemd-integritysetup-generator", "systemd-veritysetup-generator", "systemd-rc-local-generator"),
    *("systemd-sysv-generator", "systemd-system-update-generator", "systemd-bless-boot-generator"),
)

_ENABLED = {
    "multi-user.target.wants/insula-ready.service": "/etc/systemd/system",
    "multi-user.target.wants/systemd-networkd.service": "/lib/systemd/system",
    "network-online.target.wants/systemd-networkd-wait-online.service": "/lib/systemd/system",
    "sockets.target.wants/systemd-networkd.socket": "/lib/systemd/system",
}

# Whatever tells one machine from another, whatever the build left, and the hook that would make a boot image of 30 MB
# at every kernel upgrade that nothing ever boots.
_REMOVED = (
    *("etc/ssh/ssh_host_*", "var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "etc/hostname"),
    *("etc/apt/apt.conf.d/99mmdebstrap", "etc/apt/sources.list.d/0000*", "etc/apt/sources.list"),
    *(
        "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
        "var/lib/apt/lists/*_*",
        "var/cache/apt/*.bin",
        "var/cache/apt/archives/*.deb",
    ),
    *("var/log/*.log", "var/log/apt/*", "var/cache/debconf/*-old", "var/lib/dpkg/*-old", "var/cache/ldconfig/*"),
    *("etc/kernel/postinst.d/initramfs-tools", "etc/kernel/postrm.d/initramfs-tools", "tmp/*", "run/*"),
    *("boot/vmlinuz*", "boot/initrd*", "vmlinuz*", "initrd.img*"),
)

COMMAND_LINE = f"console=ttyS0 root=LABEL={ROOT_LABEL} rw quiet net.ifnames=0"


class Debian12:
    """Makes the `debian-12` image, as root or as an ordinary user with sub-users (/etc/subuid)."""

    facts = ImageFacts(
        name="debian-12",
        title="Debian 12 (bookworm)",
        source=ImageSource.BUILT,
        provisioning=Provisioning.INSULA,
        has_agent=True,
        firmwares=(Firmware.BIOS, Firmware.UEFI),
        machine_types=(MachineType.Q35, MachineType.MICROVM),
        min_memory_mib=256,
        min_disk_gib=_DISK_MIB // 1024,
        trust="Built here from packages signed by the Debian archive.",
        renew=(
            *("random", "clock", "mac", "hostname", "keys", "host-keys", "machine-id", "boot-id"),
            *("random-seed", "journal", "leases"),
        ),
    )

    @property
    def digest(self) -> str:
        return recipe_digest("debian")

    async def make(self, folder: Path, progress: Progress) -> Made:
        check_keyring()
        await check_user_namespace()
        work = folder / "work"
        (work / "tmp").mkdir(parents=True)
        root = work / "root"
        await _install(work, root, progress)
        progress("Putting the root disk together", 82)
        version = (root / "etc/debian_version").read_text().strip()
        packages = installed_packages((root / "var/lib/dpkg/status").read_text())
        kernel = next((root / "boot").glob("vmlinuz-*"))
        taken = await asyncio.to_thread(take_kernel, kernel, root / "bin/busybox", root / "lib/modules", folder)
        await asyncio.to_thread(_furnish, root)
        progress("Writing the root disk", 88)
        await make_disk(root, folder / DISK_FILE, _DISK_MIB, user_namespace())
        progress("Clearing up", 98)
        await remove_tree(work)
        return Made(
            version=version,
            kernel=taken,
            command_line=COMMAND_LINE,
            packages=packages,
        )


async def check_user_namespace() -> None:
    """Raise an error that names what an ordinary user lacks for building a system with several users in it."""
    for program in ("mmdebstrap", "mke2fs", "unshare"):
        find_program(program)
    if am_root():
        return
    find_program("newuidmap")
    try:
        await run([*user_namespace(), "true"], timeout_s=30)
    except (CommandFailed, CommandMissing) as error:
        raise Unsupported(
            "This user cannot build a Debian image",
            why=f"A user namespace with sub-users is needed, and making one failed. {error.why}",
            todo="Let root do it once: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER "
            "(package uidmap); on Ubuntu 24.04 also sysctl kernel.apparmor_restrict_unprivileged_userns=0",
            code="no-user-namespace",
        ) from error


async def _install(work: Path, root: Path, progress: Progress) -> None:
    """Unpack and configure all packages into `root`."""
    sources = work / "sources.list"
    sources.write_text(_SUITE.sources())
    # Its own mount and process namespaces: a killed build leaves no mount and no process.
    namespaces = user_namespace() or ["unshare", "--"]
    namespaces[1:1] = ["--mount", "--pid", "--fork", "--kill-child"]
    command = ["setpriv", "--pdeathsig", "KILL", *namespaces, "mmdebstrap", "--mode=root", "--variant=minbase"]
    command += ["--verbose", "--architectures=amd64", "--format=directory", f"--include={','.join(_PACKAGES)}"]
    command += [f"--aptopt={line}" for line in await host_policy()]
    command += [f"--dpkgopt={line}" for line in ("force-unsafe-io", *_PATH_OPTIONS)]
    await run(
        [*command, _SUITE.name, str(root), str(sources)],
        # INITRD=No: nothing boots the generic initial RAM disk, whose making takes longer than all else.
        env={"TMPDIR": str(work / "tmp"), "INITRD": "No", "HOME": "/root"},
        timeout_s=_TIMEOUT_S,
        on_line=install_progress(progress),
    )


# How apt's and dpkg's lines begin → what to say, from which to which percent.
_MARKS = {
    "Get:": ("Downloading packages", 2, 25),
    "Unpacking ": ("Unpacking packages", 25, 50),
    "Setting up ": ("Installing packages", 50, 80),
}
_NEWLY = re.compile(r"(\d+) newly installed")


def install_progress(progress: Progress) -> Callable[[str], None]:
    """Turn apt's and dpkg's lines into percent: packages fetched to 25, unpacked to 50, configured to 80."""
    total = 200
    counts: Counter[str] = Counter()
    furthest = 0

    def on_line(line: str) -> None:
        nonlocal total, furthest
        if found := _NEWLY.search(line):
            total = max(int(found[1]), total)
        mark = next((mark for mark in _MARKS if line.startswith(mark)), None)
        if mark is not None:
            counts[mark] += 1
            text, low, high = _MARKS[mark]
            furthest = max(furthest, low + min(total, counts[mark]) * (high - low) // total)
            progress(text, furthest)

    return on_line


def installed_packages(status: str) -> dict[str, str]:
    """Name → version of every installed package, from dpkg's status file."""
    fields = (dict(_field(line) for line in block.splitlines() if _FIELD.match(line)) for block in status.split("\n\n"))
    return {
        field["Package"]: field["Version"]
        for field in fields
        if field.get("Status") == "install ok installed" and "Version" in field
    }


_FIELD = re.compile(r"(Package|Version|Status): ")


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(": ")
    return name, value


def _furnish(root: Path) -> None:
    """Lay our files over the system, choose what runs, and take out what is of the build."""
    remove(root, _REMOVED)
    overlay(root, "shared", "debian")
    install(root / RESEED, reseed_program())
    install(root / SHELL, (root / "bin/busybox").read_bytes())
    system = root / "etc/systemd/system"
    for unit in _MASKED:
        link(system / unit, "/dev/null")
    for generator in _MASKED_GENERATORS:
        link(root / "etc/systemd/system-generators" / generator, "/dev/null")
    for path, folder in _ENABLED.items():
        link(system / path, f"{folder}/{path.rpartition('/')[2]}")
    link(root / "etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
    # Empty, not absent: a missing one makes systemd treat the boot as a system's very first and apply all presets.
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").write_text("debian\n")
    (root / "var/lib/insula").mkdir(exist_ok=True)
