"""The alternative: the same image, kernel and accelerator through libvirt and `virt-install --import --cloud-init`.

libvirtd runs for this measurement alone, as an unprivileged user with its own folders, and is ended afterwards.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from bench.guest import ImageFiles

PROGRAMS = ("libvirtd", "virsh", "virt-install")
_PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT_S = 120


def missing_programs() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]


class Libvirt:
    """A private libvirt session with at most one guest at a time."""

    def __init__(self) -> None:
        # Short, because libvirt puts sockets six folders below, and their paths have 107 bytes at most.
        self.home = Path(tempfile.mkdtemp(prefix="iv-", dir="/var/tmp"))
        self.home.chmod(0o711)
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.home, nobody.pw_uid, nobody.pw_gid)
            self._as_user = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
        run_folder = self.home / "run"
        self._run(["mkdir", "-m", "700", str(run_folder)])
        self._daemon = subprocess.Popen(
            [*self._as_user, "libvirtd"],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while not (run_folder / "libvirt" / "libvirt-sock").exists():
            if time.monotonic() > deadline:
                raise AssertionError("libvirtd did not open its socket within 30 s")
            time.sleep(0.1)

    def __enter__(self) -> Libvirt:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(AssertionError):  # there is none, unless the measurement broke off
            self.destroy()
        self._daemon.send_signal(signal.SIGTERM)
        self._daemon.wait(timeout=_TIMEOUT_S)
        shutil.rmtree(self.home)

    def launch(self, image: ImageFiles, public_key: Path, port: int) -> None:
        """Make an overlay and start the guest; its SSH port is `port` on 127.0.0.1."""
        key = self.home / "key.pub"
        self._run(["cp", str(public_key), str(key)])
        disk = self.home / "disk.qcow2"
        self._run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image.disk), str(disk), "50G"])
        boot = f"kernel={image.kernel},initrd={image.initrd},kernel_args={image.command_line}"
        # The session has no network of its own; this is QEMU's user-mode network with one forward.
        network = (
            f"-netdev user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:22 -device virtio-net-pci,netdev=n0,addr=0x10,romfile="
        )
        self._run(
            [
                *("virt-install", "--connect", "qemu:///session", "--virt-type", "qemu", "--name", "bench"),
                *("--memory", "2048", "--vcpus", "2", "--import", "--osinfo", "linux2022", "--boot", boot),
                *("--disk", f"path={disk},bus=virtio", "--cloud-init", f"root-ssh-key={key},disable=on"),
                *("--graphics", "none", "--network", "none", f"--qemu-commandline={network}", "--noautoconsole"),
            ]
        )

    def destroy(self) -> None:
        self._run(["virsh", "-c", "qemu:///session", "destroy", "bench"])
        self._run(["virsh", "-c", "qemu:///session", "undefine", "bench"])

    def _environment(self) -> dict[str, str]:
        folders = {"RUNTIME_DIR": "run", "CONFIG_HOME": "config", "CACHE_HOME": "cache", "DATA_HOME": "data"}
        own = {f"XDG_{name}": str(self.home / folder) for name, folder in folders.items()}
        return {"HOME": str(self.home), "PATH": _PATH, "LC_ALL": "C.UTF-8"} | own

    def _run(self, argv: list[str]) -> None:
        done = subprocess.run(
            [*self._as_user, *argv],
            env=self._environment(),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(f"{argv[0]} failed: {done.stdout}{done.stderr}")
