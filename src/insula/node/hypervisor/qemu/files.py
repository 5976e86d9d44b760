"""A machine's folder: what is in it, who owns it, and what of it the jail shows.

The folder belongs to the service; QEMU gets single files of it (disk, NVRAM, console log) and listening sockets that we
opened. It can neither replace our records nor create anything. As root the files that it writes belong to the
instance's own user, and other instances' users cannot enter the folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from pathlib import Path

from insula.base.errors import NotFound
from insula.base.run import run
from insula.domain.instance import Firmware
from insula.node.hypervisor.driver import MachineSpec, StreamNic
from insula.node.hypervisor.qemu.argv import NVRAM, Host
from insula.node.hypervisor.qemu.firmware import UefiFirmware, data_folders
from insula.node.hypervisor.qemu.record import QEMU_LOG
from insula.node.runtime.jail import Gate, Jail, groups_to_read
from insula.node.runtime.uids import give_file

CONSOLE_LOG = "console.log"
QMP_SOCKET, AGENT_SOCKET, CONSOLE_SOCKET = "qmp.sock", "agent.sock", "console.sock"

# A guest that prints without end fills no disk: the service cuts the logs to their last part.
LOG_LIMITS_BYTES = {CONSOLE_LOG: 4 * 1024 * 1024, QEMU_LOG: 1024 * 1024}
_LONGEST_SOCKET_PATH_BYTES = 107
_CONVERT_TIMEOUT_S = 60.0
_KVM = Path("/dev/kvm")


def prepare_folder(spec: MachineSpec) -> None:
    """Fresh logs, and owners that fit `spec.uid`. May be repeated. Blocking: call it from a thread.

    Raises :class:`NotFound` when a file that the machine needs is missing.
    """
    kernel = [spec.direct_boot.kernel, spec.direct_boot.initrd] if spec.direct_boot else []
    volumes = [volume.file for volume in spec.volumes]
    for path in (spec.disk, spec.seed, spec.saved, *spec.read_only, *volumes, *kernel):
        if path is not None and not path.exists():
            raise NotFound(
                f"A file that the machine of {spec.name} needs is missing",
                why=f"{path} does not exist",
                todo="Rebuild the instance, or restore it from a backup",
                code="machine-file-missing",
            )
    for name in (CONSOLE_LOG, QEMU_LOG):
        with contextlib.suppress(FileNotFoundError):
            (spec.folder / name).replace(spec.folder / f"{name}.previous")
    os.close(os.open(spec.folder / CONSOLE_LOG, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    owned = [spec.disk, spec.folder / CONSOLE_LOG, spec.folder / NVRAM, *volumes]
    if spec.seed is not None and spec.seed.parent == spec.folder:
        owned.append(spec.seed)
    for path in owned:
        if path.exists():
            give_file(path, spec.uid)
    if spec.uid is not None:
        # The instance's user passes through the folder, nobody else does, and it can change nothing in it.
        os.chown(spec.folder, os.geteuid(), spec.uid)
        spec.folder.chmod(0o710)


async def make_nvram(spec: MachineSpec, uefi: UefiFirmware) -> None:
    """The guest's UEFI variables: made once from the firmware's template, as qcow2 so that snapshots include them."""
    target = spec.folder / NVRAM
    if target.exists():
        return
    draft = spec.folder / f".{NVRAM}.{secrets.token_hex(4)}.tmp"
    try:
        await run(
            ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(uefi.variables), str(draft)],
            timeout_s=_CONVERT_TIMEOUT_S,
        )
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def listening_socket(path: Path) -> socket.socket:
    """A listening Unix socket at `path`, only for our own user; replaces a stale one. Paths may be of any length."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH_BYTES:
            listener.bind(str(path))
        else:
            folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                listener.bind(f"/proc/self/fd/{folder}/{path.name}")
            finally:
                os.close(folder)
        path.chmod(0o600)
        listener.listen(1)
    except BaseException:
        listener.close()
        raise
    return listener


def jail_for(spec: MachineSpec, host: Host, gate: Gate | None) -> Jail:
    """What QEMU sees of the host."""
    writable = [spec.disk, spec.folder / CONSOLE_LOG, *(volume.file for volume in spec.volumes)]
    readable = [*data_folders(), *spec.read_only]
    if spec.firmware is Firmware.UEFI:
        writable.append(spec.folder / NVRAM)
    if isinstance(spec.nic, StreamNic):
        writable.append(spec.nic.socket)
    if spec.seed is not None:
        readable.append(spec.seed)
    if spec.direct_boot is not None:
        readable += [path for path in (spec.direct_boot.kernel, spec.direct_boot.initrd) if path is not None]
    uses_kvm = host.accelerator == "kvm"
    return Jail(
        read_write=tuple(writable),
        read_only=tuple(readable),
        devices=(_KVM,) if uses_kvm else (),
        folder=spec.folder,
        uid=spec.uid,
        groups=(*groups_to_read(spec.read_only), *(_kvm_groups() if uses_kvm else ())) if spec.uid is not None else (),
        gate=gate,
    )


def _kvm_groups() -> tuple[int, ...]:
    """The group that may use /dev/kvm, so that an unprivileged user can; root's own group is never given away."""
    status = _KVM.stat()
    return (status.st_gid,) if status.st_mode & 0o060 == 0o060 and status.st_gid != 0 else ()


def cut_logs(folder: Path) -> None:
    """Cut logs that have outgrown their limit to their last quarter, in place: QEMU goes on appending to them."""
    for name, limit in LOG_LIMITS_BYTES.items():
        try:
            with (folder / name).open("r+b") as log:
                size = log.seek(0, os.SEEK_END)
                if size > limit:
                    log.seek(size - limit // 4)
                    rest = log.read(limit // 4)
                    log.seek(0)
                    log.write(rest[rest.find(b"\n") + 1 :])
                    log.truncate()
        except FileNotFoundError:
            continue
