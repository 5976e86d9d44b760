"""The alternative by hand: QEMU alone, a guest frozen in a file, and copies of it with `-incoming`.

No jail, no limits, no identity: every copy has the template's keys, addresses and random numbers. What it takes is what
any product on this QEMU takes at least.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.guest import ImageFiles, wait_for_root
from insula.node.storage.backend import SeedContents
from insula.node.storage.seed import write_seed
from tests.private_service import free_port

_TIMEOUT_S = 300.0
_CAPABILITY = {"capabilities": [{"capability": "x-ignore-shared", "state": True}]}


class BareQemu:
    """One frozen guest of an image. A context manager, since its memory lies in the host's."""

    def __init__(self, image: ImageFiles, key: Path, memory_mib: int) -> None:
        self._image = image
        self._key = key
        self._mib = memory_mib
        self._home = Path(tempfile.mkdtemp(prefix="insula-bare-", dir="/dev/shm"))

    def __enter__(self) -> BareQemu:
        public = self._key.with_suffix(".pub").read_text().strip()
        write_seed(self._home / "seed.iso", SeedContents("bare", "bare", (public,)))
        self._overlay(self._image.disk, self._home / "template.qcow2")
        port = free_port()
        with self._machine("template", port, shared=True, more=()) as qmp:
            wait_for_root(port, self._key)
            qmp("stop")
            qmp("migrate-set-capabilities", _CAPABILITY)
            qmp("migrate", {"uri": f"exec:cat > {self._home}/devices"})
            _await_migrated(qmp)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        shutil.rmtree(self._home)

    def copy_s(self) -> float:
        """Seconds from nothing to a root command over SSH in a copy, which is ended then."""
        port = free_port()
        began = time.monotonic()
        self._overlay(self._home / "template.qcow2", self._home / "copy.qcow2")
        with self._machine("copy", port, shared=False, more=("-incoming", "defer")) as qmp:
            qmp("migrate-set-capabilities", _CAPABILITY)
            qmp("migrate-incoming", {"uri": f"exec:cat {self._home}/devices"})
            _await_migrated(qmp)
            qmp("cont")  # it stands still, as it did when it was frozen
            wait_for_root(port, self._key)
            return time.monotonic() - began

    def _overlay(self, base: Path, disk: Path) -> None:
        disk.unlink(missing_ok=True)
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(base), str(disk), "25G"]
        subprocess.run(command, check=True, timeout=_TIMEOUT_S)

    @contextlib.contextmanager
    def _machine(self, name: str, port: int, *, shared: bool, more: tuple[str, ...]) -> Iterator[Any]:
        monitor = self._home / f"{name}.sock"
        share = "on" if shared else "off"
        memory = f"memory-backend-file,id=ram,size={self._mib}M,mem-path={self._home}/memory,share={share}"
        process = subprocess.Popen(
            [
                *("qemu-system-x86_64", "-nodefaults", "-display", "none", "-cpu", "max", "-accel", "tcg,thread=multi"),
                *("-object", memory, "-machine", "q35,memory-backend=ram", "-m", f"{self._mib}M"),
                *("-qmp", f"unix:{monitor},server=on,wait=off", "-serial", "null"),
                *("-kernel", str(self._image.kernel), "-initrd", str(self._image.initrd)),
                *("-append", self._image.command_line),
                *("-drive", f"file={self._home}/{name}.qcow2,if=virtio,format=qcow2"),
                *("-drive", f"file={self._home}/seed.iso,if=virtio,format=raw,readonly=on"),
                *("-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:22"),
                *("-device", "virtio-net-pci,netdev=n0,romfile=", *more),
            ],
            stdin=subprocess.DEVNULL,
        )
        try:
            with _connected(monitor) as qmp:
                yield qmp
        finally:
            process.kill()
            process.wait(timeout=_TIMEOUT_S)


def _await_migrated(qmp: Any) -> None:
    while qmp("query-migrate").get("status") != "completed":
        time.sleep(0.01)


@contextlib.contextmanager
def _connected(monitor: Path) -> Iterator[Any]:
    deadline = time.monotonic() + 10
    connection = socket.socket(socket.AF_UNIX)
    while True:
        try:
            connection.connect(str(monitor))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)
        else:
            break
    with connection, connection.makefile("rw") as stream:

        def run(command: str, arguments: dict[str, Any] | None = None) -> Any:
            stream.write(json.dumps({"execute": command, "arguments": arguments or {}}) + "\n")
            stream.flush()
            while True:
                reply = json.loads(stream.readline())
                if "return" in reply:
                    return reply["return"]
                if "error" in reply:
                    raise AssertionError(f"{command}: {reply['error']}")

        stream.readline()  # the greeting
        run("qmp_capabilities")
        yield run
