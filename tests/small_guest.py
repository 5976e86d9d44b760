"""The smallest real guest for tests of machines: Debian's kernel and busybox, with a shell on the serial console.

Made once from Debian's packages and kept in /var/tmp, where unprivileged users can read it. It needs no image, so the
tests of the hypervisor stand on their own.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

# What the kernel's package builds as modules and the tests need, in no particular order.
_MODULES = (
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "virtio_console",
    "virtio_rng",
    "virtio_net",
    "af_packet",
    "button",
    "evdev",
    "pvpanic-mmio",
)

_INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
echo 'insula-phase: init'
for module in $(cat /modules.order); do insmod /modules/$module; done
for event in /dev/input/event*; do
    # Opened before the last phase is told, so that no press is lost.
    exec 3<"$event"
    (head -c 1 <&3 >/dev/null; echo 'power button'; poweroff -f) &
    exec 3<&-
done
# Told by the shell itself, which by then reads what is typed.
exec setsid cttyhack sh -c "echo 'insula-phase: ready'; exec sh"
"""

# Its name changes with what goes in, so that an old one is never taken for the present.
_FOLDER = Path(f"/var/tmp/insula-test-guest-{os.geteuid()}-{zlib.crc32(repr((_INIT, _MODULES)).encode()):08x}")


@dataclass(frozen=True)
class SmallGuest:
    """`command_line` boots quietly to a shell on the first serial port."""

    kernel: Path
    initrd: Path
    command_line: str = "console=ttyS0 quiet panic=0 oops=panic"


def small_guest() -> SmallGuest:
    """The guest's files, made at the first call (some 80 MB are downloaded)."""
    done = _FOLDER / "initrd"
    if not done.exists():
        with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:
            _make(Path(scratch))
    return SmallGuest(_FOLDER / "vmlinuz", done)


def _make(scratch: Path) -> None:
    names = [_kernel_package(), "busybox-static"]
    subprocess.run(["apt-get", "download", "-q", *names], cwd=scratch, check=True, timeout=300, capture_output=True)
    for package in scratch.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, scratch / "root"], check=True, timeout=120)
    _FOLDER.mkdir(mode=0o755, exist_ok=True)
    (kernel,) = (scratch / "root" / "boot").glob("vmlinuz-*")
    shutil.copyfile(kernel, _FOLDER / "vmlinuz")
    modules = scratch / "root" / "lib" / "modules" / kernel.name.removeprefix("vmlinuz-")
    files: dict[str, tuple[int, bytes]] = {
        "init": (0o100755, _INIT.encode()),
        "bin/busybox": (0o100755, (scratch / "root" / "bin" / "busybox").read_bytes()),
    }
    order = _load_order(modules)
    for path in order:
        files[f"modules/{path.name}"] = (0o100644, path.read_bytes())
    files["modules.order"] = (0o100644, "\n".join(path.name for path in order).encode() + b"\n")
    draft = _FOLDER / "initrd.tmp"
    draft.write_bytes(_cpio({"bin": (0o040755, b""), "modules": (0o040755, b""), "dev": (0o040755, b""), **files}))
    draft.replace(_FOLDER / "initrd")


def _kernel_package() -> str:
    shown = subprocess.run(
        ["apt-cache", "depends", "linux-image-amd64"], check=True, timeout=60, capture_output=True, text=True
    )
    return next(line.split()[-1] for line in shown.stdout.splitlines() if "Depends: linux-image-" in line)


def _load_order(modules: Path) -> list[Path]:
    """The wanted modules with all they need, each after what it needs, as their `.modinfo` sections say."""
    by_name = {path.name.removesuffix(".ko").replace("-", "_"): path for path in modules.rglob("*.ko")}
    order: list[Path] = []

    def visit(name: str) -> None:
        path = by_name.get(name.replace("-", "_"))
        if path is None or path in order:
            return  # built into the kernel, or there already
        found = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for needed in found.group(1).decode().split(",") if found else []:
            visit(needed)
        order.append(path)

    for name in _MODULES:
        visit(name)
    return order


def _cpio(entries: dict[str, tuple[int, bytes]]) -> bytes:
    """A `newc` archive (Linux Documentation/driver-api/early-userspace/buffer-format.rst)."""
    return b"".join(_cpio_entries(entries))


def _cpio_entries(entries: dict[str, tuple[int, bytes]]) -> Iterable[bytes]:
    for number, (name, (mode, data)) in enumerate([*entries.items(), ("TRAILER!!!", (0, b""))], start=1):
        encoded = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        yield header + b"\0" * (-len(header) % 4)
        yield data + b"\0" * (-len(data) % 4)


# A line may be echoed by the terminal and by the shell, which folds it at the width of the terminal.
_ECHOED_MARK = re.compile(r"\s*".join("in''sula-done"))


class Console:
    """A guest's serial console, as a test types on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def type(self, line: str) -> None:
        self._writer.write(line.encode() + b"\n")
        await self._writer.drain()

    async def expect(self, text: str, timeout_s: float) -> str:
        """Everything up to and with `text`."""
        async with asyncio.timeout(timeout_s):
            return (await self._reader.readuntil(text.encode())).decode("utf-8", "replace")

    async def until_closed(self, timeout_s: float) -> None:
        async with asyncio.timeout(timeout_s):
            while await self._reader.read(65536):
                pass

    async def run(self, command: str, timeout_s: float = 30) -> str:
        """What a shell command prints. The mark is split in the command, so that its echo does not match."""
        await self.type(f"{command}; echo in''sula-done")
        said = await self.expect("insula-done", timeout_s)
        return _ECHOED_MARK.split(said)[-1].rpartition("insula-done")[0].strip()


@asynccontextmanager
async def console(folder: Path) -> AsyncIterator[Console]:
    reader, writer = await asyncio.open_unix_connection(folder / "console.sock")
    try:
        yield Console(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


async def booted(folder: Path, timeout_s: float = 90, times: int = 1) -> float:
    """Wait until the guest has printed its last phase so many times; returns the seconds it took."""
    begin_s = time.monotonic()
    log = folder / "console.log"
    while (said := log.read_bytes()).count(b"insula-phase: ready") < times:
        if time.monotonic() - begin_s > timeout_s:
            raise TimeoutError(f"no {times} boots in {timeout_s} s; the console said: {said[-2000:]!r}")
        await asyncio.sleep(0.05)
    return time.monotonic() - begin_s
