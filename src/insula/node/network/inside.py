"""Runs in a program of its own: makes an instance's network namespace and what is in it, in a few milliseconds.

Entering a user namespace needs a process with one thread, so the service cannot do this itself. Only small modules of
the standard library are imported, since the interpreter's start is most of the time it takes.

What it leaves behind: a *holder* (`sleep`, in new user and network namespaces that the instance's user owns), a bridge
`br0` with the tap `up0` for slirp4netns, and slirp4netns itself. The open tap `vm0` for QEMU is sent through a socket
(SCM_RIGHTS). Both processes wait for a byte before they become what they are; it is written only when the record that
names them is on disk, so being killed at any moment leaves nothing behind.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # these take 10 ms to import
    from collections.abc import Callable
    from typing import NoReturn

# linux/sched.h, linux/mount.h, linux/prctl.h, linux/if_tun.h, linux/sockios.h, linux/if.h
_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
_MS_REC, _MS_PRIVATE, _MS_NOSUID = 0x4000, 1 << 18, 2
_PR_SET_DUMPABLE = 4
_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_SIOCGIFINDEX, _SIOCSIFFLAGS, _SIOCBRADDBR, _SIOCBRADDIF = 0x8933, 0x8914, 0x89A0, 0x89A2
_IFF_UP, _IFF_MULTICAST = 0x1, 0x1000
_NAME_AND_FLAGS, _NAME_AND_INDEX = "16sH22x", "16si20x"  # struct ifreq
_TUN = "/dev/net/tun"

_libc = ctypes.CDLL(None, use_errno=True)


class Order:
    """What to make, as the words of a command line.

    `UID RECORD LOG MARKER FOLDER REPLY_FD READY_FD HOLDER... -- SLIRP...`. UID -1 means our own. RECORD is the file
    that shall name the processes. MARKER is put into their environment, so that they can be found by it. FOLDER is
    where slirp4netns starts and makes its socket. In its command line `{pid}` stands for the holder.
    """

    def __init__(self, words: list[str]) -> None:
        uid, self.record, self.log, self.marker, self.folder, reply_fd, ready_fd, *programs = words
        self.uid, self.reply_fd, self.ready_fd = int(uid), int(reply_fd), int(ready_fd)
        divide = programs.index("--")
        self.holder, self.slirp = programs[:divide], programs[divide + 1 :]


class Gate:
    """What a child needs until it becomes its program: where to say that it is ready, where to wait, its output."""

    def __init__(self, ready: int, go: int, log: int) -> None:
        self.ready, self.go, self.log = ready, go, log


def main(order: Order) -> None:
    """Do it all; raises OSError after ending what was begun."""
    log = os.open(order.log, os.O_WRONLY | os.O_APPEND)  # now, since the instance's user may not
    holder, holder_ready, holder_go = _fork(lambda ready, go: _be_holder(order, Gate(ready, go, log)))
    children = [holder]
    try:
        _wait_byte(holder_ready, "the network namespace was not made")
        slirp, slirp_ready, slirp_go = _fork(lambda ready, go: _be_slirp(order, holder, Gate(ready, go, log)))
        children.append(slirp)
        _wait_byte(slirp_ready, "slirp4netns was not prepared")
        tap = _furnish(holder)
        _write_record(order.record, {"holder": holder, "slirp4netns": slirp})
        with socket.socket(fileno=os.dup(order.reply_fd)) as reply:
            socket.send_fds(reply, [b"1"], [tap])
        for go in (holder_go, slirp_go):
            os.write(go, b"1")
    except BaseException:
        for child in children:
            os.kill(child, signal.SIGKILL)
        raise


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _fork(be: Callable[[int, int], NoReturn]) -> tuple[int, int, int]:
    """A child that runs `be(ready, go)`; returns its pid, the end to read its readiness from, the end to release it."""
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(ready_write)
        os.close(go_read)
        return pid, ready_read, go_write
    try:
        os.close(ready_read)
        os.close(go_write)
        os.setsid()
        be(ready_write, go_read)
    except BaseException as error:
        os.write(2, f"{error}\n".encode())
        raise
    finally:
        os._exit(1)


def _wait_byte(pipe: int, otherwise: str) -> None:
    if os.read(pipe, 1) != b"1":
        raise OSError(0, otherwise)


def _be_holder(order: Order, gate: Gate) -> NoReturn:
    uid = _become(order.uid)
    gid = os.getgid()
    _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNET)
    _call("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)  # else /proc/self belongs to root
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {uid} 1")
    _write("/proc/self/gid_map", f"0 {gid} 1")
    os.chdir("/")
    _exec_when_told(order, order.holder, gate, keep=())


def _be_slirp(order: Order, holder: int, gate: Gate) -> NoReturn:
    if order.uid >= 0:
        _offer_tun()
    _become(order.uid)
    os.chdir(order.folder)
    argv = [word.replace("{pid}", str(holder)) for word in order.slirp]
    _exec_when_told(order, argv, gate, keep=(order.ready_fd,))


def _become(uid: int) -> int:
    """Lose root for good and return who we are."""
    if uid >= 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        _call("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)
    return os.getuid()


def _offer_tun() -> None:
    """Where only root may open the tun device, slirp4netns sees one of its own that it may open.

    It gives no power over the host: an interface can be made only in a namespace where the caller has CAP_NET_ADMIN.
    """
    if os.stat(_TUN).st_mode & 0o006 == 0o006:  # noqa: PTH116 - pathlib takes 10 ms to import
        return
    _call("unshare", _CLONE_NEWNS)
    _call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    _call("mount", b"tmpfs", b"/dev/net", b"tmpfs", _MS_NOSUID, b"mode=755,size=4k")
    os.mknod(_TUN, 0o020666, os.makedev(10, 200))
    os.chmod(_TUN, 0o666)  # noqa: PTH101, S103 - in a mount namespace of its own; pathlib as above


def _exec_when_told(order: Order, argv: list[str], gate: Gate, keep: tuple[int, ...]) -> NoReturn:
    os.write(gate.ready, b"1")
    if os.read(gate.go, 1) != b"1":
        os._exit(1)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.dup2(gate.log, 1)
    os.dup2(gate.log, 2)
    for descriptor in (order.reply_fd, order.ready_fd):
        os.set_inheritable(descriptor, descriptor in keep)
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "INSULA_INSTANCE": order.marker}
    os.execve(argv[0], argv, environment)  # noqa: S606 - never a shell


def _furnish(holder: int) -> int:
    """Bridge and taps inside the holder's namespace; returns the open tap for QEMU."""
    entrances = ("user", "net") if os.geteuid() != 0 else ("net",)
    for entrance in [os.open(f"/proc/{holder}/ns/{kind}", os.O_RDONLY) for kind in entrances]:
        _call("setns", entrance, 0)
    _write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")  # the bridge is a cable, not a neighbour
    tap = _open_tap("vm0", _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR)
    uplink = _open_tap("up0", _IFF_TAP | _IFF_NO_PI)
    fcntl.ioctl(uplink, _TUNSETPERSIST, 1)
    os.close(uplink)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCBRADDBR, b"br0\0")
        for name in (b"vm0", b"up0"):
            index = _index_of(control, name)
            fcntl.ioctl(control, _SIOCBRADDIF, struct.pack(_NAME_AND_INDEX, b"br0", index))
        for name in (b"vm0", b"up0", b"br0"):
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack(_NAME_AND_FLAGS, name, _IFF_UP | _IFF_MULTICAST))
    return tap


def _index_of(control: socket.socket, name: bytes) -> int:
    answer = fcntl.ioctl(control, _SIOCGIFINDEX, struct.pack(_NAME_AND_INDEX, name, 0))
    return int(struct.unpack(_NAME_AND_INDEX, answer)[1])


def _open_tap(name: str, flags: int) -> int:
    tap = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack(_NAME_AND_FLAGS, name.encode(), flags))
    return tap


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _write_record(path: str, pids: dict[str, int]) -> None:
    # Names and numbers only, so no JSON encoder is needed; `record.load` reads it.
    entries = ",".join(
        f'{{"name":"{name}","pid":{pid},"start_ticks":{_start_ticks(pid)}}}' for name, pid in pids.items()
    )
    draft = f"{path}.new"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, f'{{"way":"namespace","processes":[{entries}]}}'.encode())
    os.fsync(descriptor)
    os.close(descriptor)
    os.rename(draft, path)  # noqa: PTH104 - pathlib as above


def _start_ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - pathlib as above
        return int(file.read().rpartition(")")[2].split()[19])


def run(words: list[str]) -> None:
    """The whole program; exits with a sentence on what went wrong."""
    try:
        main(Order(words))
    except OSError as trouble:
        sys.exit(f"{trouble.strerror or trouble} ({trouble.filename or 'network namespace'})")
