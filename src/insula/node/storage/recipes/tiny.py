"""The `tiny` image: Debian's kernel, one busybox, dropbear and QEMU's guest agent; starts in seconds when emulated."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from insula.base.errors import HostFailure
from insula.base.run import run
from insula.domain.image import ImageSource, Provisioning
from insula.domain.instance import Firmware, MachineType
from insula.node.storage.making import Made
from insula.node.storage.manifest import DISK_FILE, ImageFacts
from insula.node.storage.recipes.digest import recipe_digest
from insula.node.storage.recipes.filesystem import make_disk
from insula.node.storage.recipes.initrd import ROOT_LABEL
from insula.node.storage.recipes.kernel import take_kernel
from insula.node.storage.recipes.packages import PrivateApt, Suite, version_of
from insula.node.storage.recipes.reseed import RESEED, reseed_program
from insula.node.storage.recipes.tree import SHELL, install, overlay, remove
from insula.node.storage.staging import owner_namespace, remove_tree
from insula.protocol.node import Progress

_SUITE = Suite("bookworm")
_KERNEL = "linux-image-amd64"
_DISK_MIB = 1024
_TIMEOUT_S = 300.0

# Before the root disk there are no libraries; on it, looking up names needs the C library's own.
_EARLY_BUSYBOX = "busybox-static"
# The programs, then the libraries that they are linked with.
_PACKAGES = (
    *("busybox", "dropbear-bin", "qemu-guest-agent", "e2fsprogs", "libc6"),
    *("libglib2.0-0", "libpcre2-8-0", "libnuma1", "libudev1", "liburing2", "libgcc-s1"),
    *("libcrypt1", "libtomcrypt1", "libtommath1", "libgmp10", "zlib1g"),
    *("libblkid1", "libuuid1", "libcom-err2", "libext2fs2", "libss2"),
)
# Documentation, translations and character sets that nothing in the guest reads.
_PRUNED = ("usr/share", "usr/lib/x86_64-linux-gnu/gconv", "usr/include", "etc/init.d/qemu-guest-agent", "lib/systemd")
_FOLDERS = ("dev", "proc", "sys", "run", "tmp", "mnt", "root", "var/lib/insula", "var/log", "usr/bin", "usr/sbin")
_FOLDERS_MORE = ("etc/dropbear", "usr/local/bin", "usr/share/insula")

# What each of these must be able to do in the finished tree: a library that is missing shows here, not in the guest.
_SMOKE = (("/usr/sbin/qemu-ga", "--version"), ("/usr/sbin/dropbear", "-V"), ("/sbin/resize2fs", "-h"))

COMMAND_LINE = f"console=ttyS0 root=LABEL={ROOT_LABEL} rw quiet"


class Tiny:
    """Makes the `tiny` image, as root or as an ordinary user."""

    facts = ImageFacts(
        name="tiny",
        title="Tiny Linux (Debian kernel, busybox, dropbear)",
        source=ImageSource.BUILT,
        provisioning=Provisioning.INSULA,
        has_agent=True,
        firmwares=(Firmware.BIOS, Firmware.UEFI),
        machine_types=(MachineType.Q35, MachineType.MICROVM),
        min_memory_mib=128,
        min_disk_gib=1,
        trust="Built here from packages signed by the Debian archive.",
        renew=("random", "clock", "mac", "hostname", "keys", "host-keys", "machine-id", "boot-id"),
    )

    @property
    def digest(self) -> str:
        return recipe_digest("tiny")

    async def make(self, folder: Path, progress: Progress) -> Made:
        work = folder / "work"
        work.mkdir()
        apt = PrivateApt(work / "apt", _SUITE)
        await apt.update(progress)
        kernel = next(name for name in await apt.depends(_KERNEL) if name.startswith("linux-image-"))
        wanted = (kernel, _EARLY_BUSYBOX, *_PACKAGES)
        files = await apt.download(wanted, work / "packages", lambda text, done=-1: progress(text, 5 + done // 3))
        progress("Unpacking", 45)
        await _unpack([files[name] for name in _PACKAGES], work / "root")
        await _unpack([files[kernel], files[_EARLY_BUSYBOX]], work / "kernel")
        progress("Putting the root disk together", 65)
        await asyncio.to_thread(_furnish, work / "root", work / "kernel/bin/busybox")
        await _link_applets(work / "root")
        await _smoke_test(work / "root")
        packed = work / f"kernel/boot/vmlinuz-{kernel.removeprefix('linux-image-')}"
        modules = work / "kernel/lib/modules"
        taken = await asyncio.to_thread(take_kernel, packed, work / "kernel/bin/busybox", modules, folder)
        progress("Writing the root disk", 80)
        await make_disk(work / "root", folder / DISK_FILE, _DISK_MIB, owner_namespace())
        await remove_tree(work)
        return Made(
            version=version_of(files[kernel]),
            kernel=taken,
            command_line=COMMAND_LINE,
            packages={name: version_of(path) for name, path in sorted(files.items())},
        )


async def _unpack(packages: Sequence[Path], target: Path) -> None:
    for package in packages:
        await run(["dpkg-deb", "--extract", str(package), str(target)], timeout_s=_TIMEOUT_S)


def _furnish(root: Path, busybox: Path) -> None:
    """Take out what nobody needs and lay our own files over the rest."""
    remove(root, _PRUNED)
    overlay(root, "shared", "tiny")
    install(root / RESEED, reseed_program())
    install(root / SHELL, busybox.read_bytes())
    for name in _FOLDERS + _FOLDERS_MORE:
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "etc/mtab").symlink_to("/proc/self/mounts")
    (root / "etc/shadow").chmod(0o600)
    (root / "root").chmod(0o700)
    (root / "tmp").chmod(0o1777)


async def _link_applets(root: Path) -> None:
    """A symbolic link for every command that busybox knows and no package brought."""
    done = await run([str(root / "bin/busybox"), "--list-full"], timeout_s=30)
    for name in done.text.split():
        path = root / name
        if not path.is_symlink() and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to("/bin/busybox")
    (root / "sbin/init").unlink(missing_ok=True)
    (root / "sbin/init").symlink_to("/bin/busybox")


async def _smoke_test(root: Path) -> None:
    """Run the guest's programs once inside its root, with no network and nothing else in sight."""
    jail = ["bwrap", "--die-with-parent", "--unshare-all", "--ro-bind", str(root), "/", "--dev", "/dev"]
    for argv in _SMOKE:
        done = await run([*jail, "--", *argv], timeout_s=_TIMEOUT_S, check=False)
        output = (done.stdout + done.stderr).decode("utf-8", "replace")
        if "shared librar" in output or done.returncode in (126, 127):
            raise HostFailure(
                f"The tiny image would not work: {argv[0]} does not start",
                why=output.strip(),
                todo="Report it: a package was split or renamed, and the recipe's list needs it",
            )
