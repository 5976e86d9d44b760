"""Runs in QEMU's place inside the jail (or free, to show that the attempts are real) and tries what it must not do.

Prints a JSON object: access → empty when it succeeded, else why not. Standard library only; does no harm where it
succeeds. `targets` on the command line is a JSON object made by the test.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_PTRACE_ATTACH, _PTRACE_DETACH = 16, 17
_KEYCTL_READ = 11
_SYS_KEYCTL = 250  # x86-64
_LIBC = ctypes.CDLL(None, use_errno=True)


def _call(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _read(path: str) -> None:
    with Path(path).open("rb") as file:
        file.read(1)


def _open_for_writing(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY))


def _create_in(folder: str) -> None:
    probe = Path(folder) / "probe-was-here"
    probe.touch()
    probe.unlink()


def _connect(family: socket.AddressFamily, address: str | tuple[str, int]) -> None:
    with socket.socket(family) as connection:
        connection.settimeout(2)
        connection.connect(address)


def _ptrace(pid: int) -> None:
    _call(_LIBC.ptrace(_PTRACE_ATTACH, pid, 0, 0))
    os.waitpid(pid, 0x40000000)  # __WALL
    _LIBC.ptrace(_PTRACE_DETACH, pid, 0, 0)


def _in_child(call: Callable[[], int]) -> None:
    """For what would change this process: in a forked one, whose exit status is the error number."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if call() == 0 else ctypes.get_errno() or errno.EPERM)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        raise OSError(status, os.strerror(status))


def _mount(folder: str) -> None:
    _call(_LIBC.mount(b"probe", folder.encode(), b"tmpfs", 0, None))
    _call(_LIBC.umount2(folder.encode(), 0))


def _spawn(program: str) -> None:
    pid = os.posix_spawn(program, [program, "-c", "exit 0"], {})
    os.waitpid(pid, 0)


def _raw_socket() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()


def attempts(targets: Mapping[str, str]) -> Mapping[str, Callable[[], object]]:
    victim = int(targets["victim_pid"])
    return {
        "disk of another instance": lambda: _read(targets["other_disk"]),
        "control socket of another machine": lambda: _connect(socket.AF_UNIX, targets["other_qmp"]),
        "database of the service": lambda: _read(targets["database"]),
        "socket of the service": lambda: _connect(socket.AF_UNIX, targets["service_socket"]),
        "records in its own folder": lambda: _open_for_writing(targets["own_record"]),
        "new files in its own folder": lambda: _create_in(targets["own_folder"]),
        "password hashes of the host": lambda: _read("/etc/shadow"),
        "home of root": lambda: list(Path("/root").iterdir()),
        "homes of users": lambda: list(Path("/home").iterdir()),
        "signal to a process of the service": lambda: os.kill(victim, 0),
        "ptrace of a process of the service": lambda: _ptrace(victim),
        "environment of a process of the service": lambda: _read(f"/proc/{victim}/environ"),
        "mount": lambda: _mount(targets["own_folder"]),
        "abstract Unix socket of the host": lambda: _connect(socket.AF_UNIX, "\0" + targets["abstract"]),
        "port of another project on 127.0.0.1": lambda: _connect(socket.AF_INET, ("127.0.0.1", int(targets["port"]))),
        "raw socket": _raw_socket,
        "spawn a shell": lambda: _spawn("/bin/sh"),
        "new user namespace": lambda: _in_child(lambda: int(_LIBC.unshare(_CLONE_NEWUSER))),
        "memory of the host (/dev/mem)": lambda: os.close(os.open("/dev/mem", os.O_RDONLY)),
        "network device (/dev/net/tun)": lambda: os.close(os.open("/dev/net/tun", os.O_RDWR)),
        "block device of the host": lambda: _read(targets["block_device"]),
        "key of the service's session": lambda: _call(
            _LIBC.syscall(_SYS_KEYCTL, _KEYCTL_READ, int(targets["key"]), None, 0)
        ),
        "kernel settings": lambda: _open_for_writing("/proc/sys/kernel/core_pattern"),
        "cgroup of the service": lambda: _open_for_writing(targets["cgroup_procs"]),
    }


def main() -> None:
    outcome: dict[str, str] = {}
    for name, attempt in attempts(json.loads(sys.argv[1])).items():
        try:
            attempt()
            outcome[name] = ""
        except OSError as error:
            outcome[name] = error.strerror or str(error) or type(error).__name__
    json.dump(outcome, sys.stdout)


if __name__ == "__main__":
    main()
