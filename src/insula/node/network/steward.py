"""Runs in a program of its own, inside a space's namespaces, and does there what the service asks.

Entering a user namespace needs a process with one thread, so the service cannot do this itself. The steward lives as
long as the service holds the other end of its socket; what it made outlives both, kept by the *holder*, a process that
does nothing. Only small modules of the standard library are imported, since there is one steward for each space.

A request is its length as text, a line feed, and JSON; so is the answer, which may carry a descriptor (SCM_RIGHTS).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from insula.node.network import announce, netlink
else:
    import announce  # its neighbours: the package would bring half of the service along
    import netlink

# linux/sched.h, linux/mount.h, linux/prctl.h, linux/if_tun.h
_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
_MS_REC, _MS_PRIVATE, _MS_NOSUID = 0x4000, 1 << 18, 2
_PR_SET_DUMPABLE = 4
_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_NAME_AND_FLAGS = "16sH22x"  # struct ifreq
_TUN = "/dev/net/tun"
_IPV6_DEVICES = "/proc/sys/net/ipv6/conf"
_NFT_JSON = 1 << 4  # nftables/libnftables.h
_BIND_TO_DEVICE = 25

_libc = ctypes.CDLL(None, use_errno=True)

# Written once, before there is any device; later ones start from `default`.
_SETTINGS = {
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/all/accept_redirects": "0",
    "ipv6/conf/default/accept_redirects": "0",
    "ipv4/conf/all/accept_redirects": "0",
    "ipv4/conf/default/accept_redirects": "0",
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/all/accept_source_route": "0",
    "ipv4/conf/default/accept_source_route": "0",
    "ipv6/route/max_size": "2147483647",
}


class Steward:
    """The requests, one method each; what they raise as OSError or ValueError is told to the asker."""

    def __init__(self) -> None:
        kernel = self._netlink = netlink.Netlink()
        self._watch = netlink.Watch(kernel)
        self._ways: dict[str, Callable[..., None]] = {
            "link": kernel.set_link,
            "tap": _make_tap,
            "bridge": lambda device: kernel.add_link("bridge", device),
            "veth": kernel.add_pair,
            "ifb": lambda device: kernel.add_link("ifb", device),
            "redirect": kernel.redirect,
            "address": kernel.address,
            "route": kernel.route,
            "neighbour": kernel.neighbour,
            "proxy": kernel.proxy,
            "limit": kernel.limit,
        }
        self._away: dict[str, Callable[..., None]] = {
            "link": kernel.delete_link,
            "redirect": kernel.remove_redirect,
            "address": kernel.remove_address,
            "route": kernel.remove_route,
            "neighbour": kernel.remove_neighbour,
            "proxy": kernel.remove_proxy,
        }

    def answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        """The reply and descriptors to send along."""
        verbs: dict[str, Callable[[dict[str, Any]], dict[str, Any] | int]] = {
            "rules": self._rules,
            "read-rules": lambda words: {"output": _nft(words["text"], as_json=True)},
            "change": self._changes,
            "disturbed": self._disturbed,
            "look": self._look,
            "traffic": lambda _: {"devices": self._netlink.traffic()},
            "set": self._set,
            "forwarding": self._forwarding,
            "announce": self._announce,
            "tap": lambda words: _open_tap(words["device"], _IFF_TAP | _IFF_NO_PI | (_IFF_VNET_HDR * words["offload"])),
            "listen": lambda words: _listen(words["address"], words["port"]),
        }
        answer = verbs[request["verb"]](request)
        return ({}, [answer]) if isinstance(answer, int) else (answer, [])

    def _rules(self, words: dict[str, Any]) -> dict[str, Any]:
        before = netlink.rules_generation()
        _nft(words["text"], as_json=False)
        return {"before": before, "after": netlink.rules_generation()}

    def _changes(self, words: dict[str, Any]) -> dict[str, Any]:
        for change in words["changes"]:
            self._change(*change)
        return {}

    def _disturbed(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"disturbed": self._watch.is_disturbed(), "generation": netlink.rules_generation()}

    def _set(self, words: dict[str, Any]) -> dict[str, Any]:
        for name, value in words["settings"]:
            _write(f"/proc/sys/net/{name}", value)
        return {}

    def _forwarding(self, _: dict[str, Any]) -> dict[str, Any]:
        """Let the host forward packets. A router ignores what routers announce unless it is told otherwise, so that
        devices that heeded announcements go on doing so."""
        if _read(f"{_IPV6_DEVICES}/all/forwarding") == "0":
            for device in os.listdir(_IPV6_DEVICES):  # noqa: PTH208 - pathlib takes 10 ms to import
                if _read(f"{_IPV6_DEVICES}/{device}/accept_ra") == "1":
                    _write(f"{_IPV6_DEVICES}/{device}/accept_ra", "2")
            _write(f"{_IPV6_DEVICES}/all/forwarding", "1")
        _write("/proc/sys/net/ipv4/ip_forward", "1")
        return {}

    def _announce(self, words: dict[str, Any]) -> dict[str, Any]:
        for device, address in words["places"]:
            announce.announce(device, address)
        return {}

    def _look(self, _: dict[str, Any]) -> dict[str, Any]:
        kernel = self._netlink
        return {
            "links": kernel.links(),
            "addresses": kernel.addresses(),
            "routes": kernel.routes(),
            "neighbours": kernel.neighbours(),
            "proxies": kernel.proxies(),
        }

    def _change(self, what: str, *words: Any) -> None:
        away = what.endswith("-away")
        try:
            if away:
                self._away[what.removesuffix("-away")](*words)
            else:
                self._ways[what](*words)
        except OSError as trouble:
            if away and trouble.errno in {errno.ENOENT, errno.ENODEV, errno.ESRCH, errno.EADDRNOTAVAIL}:
                return
            raise OSError(trouble.errno, f"{what} {' '.join(map(str, words))}: {trouble.strerror}") from trouble


def serve(connection: socket.socket) -> None:
    """Answer until the other side has gone."""
    steward = Steward()
    reader = connection.makefile("rb")
    while line := reader.readline():
        request = json.loads(reader.read(int(line)))
        try:
            reply, descriptors = steward.answer(request)
        except (OSError, ValueError) as trouble:
            number = trouble.errno if isinstance(trouble, OSError) else 0
            reply, descriptors = {"error": str(getattr(trouble, "strerror", None) or trouble), "errno": number}, []
        _send(connection, reply, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _send(connection: socket.socket, reply: dict[str, Any], descriptors: list[int]) -> None:
    body = json.dumps(reply).encode()
    socket.send_fds(connection, [f"{len(body)}\n".encode()], descriptors)
    connection.sendall(body)


def _nft(text: str, *, as_json: bool) -> str:
    """Run nft commands as one transaction; raises OSError with the kernel's or the parser's words."""
    library = _libnftables()
    context = library.nft_ctx_new(0)
    try:
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        if as_json:
            library.nft_ctx_output_set_flags(context, _NFT_JSON)
        failed = library.nft_run_cmd_from_buffer(context, text.encode())
        if failed:
            raise OSError(0, library.nft_ctx_get_error_buffer(context).decode("utf-8", "replace")[-2000:])
        return str(library.nft_ctx_get_output_buffer(context).decode("utf-8", "replace"))
    finally:
        library.nft_ctx_free(context)


def _libnftables() -> Any:
    library = ctypes.CDLL("libnftables.so.1")
    library.nft_ctx_new.restype = ctypes.c_void_p
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_free"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_char_p
    return library


def _make_tap(device: str) -> None:
    tap = _open_tap(device, _IFF_TAP | _IFF_NO_PI)
    try:
        fcntl.ioctl(tap, _TUNSETPERSIST, 1)
    finally:
        os.close(tap)
    # The guest asks for its neighbours' hardware addresses, and the router says "mine" for each that it has a way to.
    _write(f"/proc/sys/net/ipv4/conf/{device}/proxy_arp", "1")
    _write(f"/proc/sys/net/ipv4/neigh/{device}/proxy_delay", "0")  # else it waits for up to 0.8 s


def _open_tap(device: str, flags: int) -> int:
    tap = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tap, _TUNSETIFF, struct.pack(_NAME_AND_FLAGS, device.encode(), flags))
    except OSError:
        os.close(tap)
        raise
    return tap


def _listen(address: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(128)
        return listener.detach()


def create(uid: int, marker: str) -> tuple[int, int]:
    """Make new namespaces that belong to the user, a holder in them, and go there.

    Returns the holder's process id and the descriptor that a byte is written to when the holder has been recorded; if
    that end closes before, the holder ends.
    """
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go_write)
        os.close(ready_read)
        _hold(uid, ready_write, go_read, marker)
    os.close(ready_write)
    os.close(go_read)
    if os.read(ready_read, 1) != b"1":
        raise OSError(0, "the namespaces were not made")
    os.close(ready_read)
    enter(pid)
    for name, value in _SETTINGS.items():
        try:
            _write(f"/proc/sys/net/{name}", value)
        except FileNotFoundError:
            continue  # not in every kernel, and then not needed
    return pid, go_write


def _hold(uid: int, ready: int, go: int, marker: str) -> NoReturn:
    try:
        os.setsid()
        os.chdir("/")
        _become(uid)
        real_uid, real_gid = os.getuid(), os.getgid()
        _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNET)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {real_uid} 1")
        _write("/proc/self/gid_map", f"0 {real_gid} 1")
        os.write(ready, b"1")
        if os.read(go, 1) != b"1":
            os._exit(1)
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.closerange(3, 256)
        environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "INSULA_SPACE": marker}
        os.execve("/usr/bin/sleep", ["sleep", "infinity"], environment)  # noqa: S606 - never a shell
    except OSError as trouble:
        os.write(2, f"{trouble}\n".encode())
    finally:
        os._exit(1)


def enter(holder: int) -> None:
    """Go into the holder's namespaces.

    Root stays root and enters the network's only: then a whole packet filter goes to the kernel at once, for which an
    ordinary user may not send enough.
    """
    kinds = ("net",) if os.geteuid() == 0 else ("user", "net")
    entrances = [os.open(f"/proc/{holder}/ns/{kind}", os.O_RDONLY) for kind in kinds]
    for entrance in entrances:
        _call("setns", entrance, 0)
        os.close(entrance)


def offer_tun() -> None:
    """Where only root may open the tun device, we see one of our own that the space's user may open.

    It gives no power over the host: an interface can be made only in a namespace where the caller has CAP_NET_ADMIN.
    """
    if os.geteuid() != 0 or os.stat(_TUN).st_mode & 0o006 == 0o006:  # noqa: PTH116 - pathlib takes 10 ms to import
        return
    _call("unshare", _CLONE_NEWNS)
    _call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    _call("mount", b"tmpfs", b"/dev/net", b"tmpfs", _MS_NOSUID, b"mode=755,size=4k")
    os.mknod(_TUN, 0o020666, os.makedev(10, 200))
    os.chmod(_TUN, 0o666)  # noqa: PTH101, S103 - in a mount namespace of its own; pathlib as above


def _become(uid: int) -> None:
    """Lose root for good; -1 means that we stay who we are."""
    if uid >= 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    _call("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)  # else /proc/self belongs to root


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _read(path: str) -> str:
    try:
        with open(path) as file:  # noqa: PTH123 - pathlib as above
            return file.read().strip()
    except FileNotFoundError:
        return ""


def _start_ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - pathlib as above
        return int(file.read().rpartition(")")[2].split()[19])


def run(words: list[str]) -> None:
    """`SOCKET UID create MARKER`, `SOCKET UID enter HOLDER` or `SOCKET UID stay`: the whole program.

    After `create` the holder's number and start are told first, and a line comes back when they are recorded.
    `- UID run PROGRAM…` becomes the program as the user, with a tun device that it may open.
    """
    uid = int(words[1])
    if words[2] == "run":
        offer_tun()
        _become(uid)
        os.execve(words[3], words[3:], dict(os.environ))  # noqa: S606 - never a shell
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    connection = socket.socket(fileno=int(words[0]))
    try:
        if words[2] == "create":
            holder, go = create(uid, words[3])
            _send(connection, {"holder": holder, "start_ticks": _start_ticks(holder)}, [])
            if connection.recv(1) == b"1":
                os.write(go, b"1")
            os.close(go)
        else:
            if words[2] == "enter":
                enter(int(words[3]))
            _send(connection, {}, [])
    except OSError as trouble:
        _send(connection, {"error": str(trouble.strerror or trouble), "errno": trouble.errno}, [])
        sys.exit(1)
    serve(connection)
