"""passt: a user-mode network over a stream socket, for hosts where the tun device cannot be opened.

Source: passt(1). The guest gets the same private address as behind slirp4netns. `--no-map-gw` keeps it from the host's
loopback. Debian 12's passt acknowledges a guest's answer only together with the client's first words, so a client that
waits for the server to speak waits in vain; SSH, HTTP and TLS clients speak first. passt confines itself in namespaces
of its own and goes into the background when its socket stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from insula.base.errors import CommandFailed
from insula.base.run import find_program, run
from insula.domain.instance import PortForward, Protocol
from insula.node.network import ports, record
from insula.node.network.wiring import MARKER, SOCKETS, WireRequest, Wiring, make_socket_folder
from insula.node.runtime.processes import start_ticks

NAME = "passt"
SOCKET = "passt.sock"
_PID_FILE = "passt.pid"
_START_S = 20.0
_NO_LIMITS = "network-limits"

# Where the resolver's real servers are told when /etc/resolv.conf names a forwarder on the host's loopback.
_RESOLVER_FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


class PasstNetwork:
    """Implements InstanceNetwork."""

    name = NAME

    def __init__(self, lacks: Mapping[str, str] | None = None) -> None:
        self._lacks = dict(lacks or {})
        self._lacks.setdefault(
            _NO_LIMITS,
            "passt cannot limit the network's speed; make /dev/net/tun usable for ordinary users (mode 0666), so that "
            "namespaces are used instead",
        )

    def missing(self) -> Mapping[str, str]:
        return self._lacks

    async def wire(self, request: WireRequest) -> Wiring:
        """See InstanceNetwork; `network_mbps` has no effect."""
        await self.unwire(request.folder)
        await asyncio.to_thread(ports.require_free, request.forwards)
        try:
            await self._start(request)
        except BaseException:
            await self.unwire(request.folder)
            raise
        return Wiring(socket=request.folder / SOCKETS / SOCKET)

    async def unwire(self, folder: Path) -> None:
        """See InstanceNetwork."""
        await record.end_processes(folder)

    async def is_wired(self, folder: Path) -> bool:
        found = await asyncio.to_thread(record.load, folder)
        return found is not None and found.way == NAME and record.is_alive(found)

    async def broken(self, folder: Path) -> str:
        """See InstanceNetwork."""
        return await record.first_end(folder)

    async def _start(self, request: WireRequest) -> None:
        sockets = make_socket_folder(request)
        argv = [*_own_user(request.uid), *command_line(request.forwards, name_servers())]
        try:
            await run(argv, timeout_s=_START_S, cwd=sockets, env={MARKER: str(request.folder)})
        except CommandFailed:
            # It was checked before, so another program was faster; else the failure has another reason.
            await asyncio.to_thread(ports.require_free, request.forwards)
            raise
        pid = int((sockets / _PID_FILE).read_text())
        ticks = start_ticks(pid)
        # Whoever writes that file must not make us end somebody else's process later.
        if ticks is None or Path(f"/proc/{pid}").stat().st_uid != _uid_of(request):
            raise CommandFailed(
                "passt ended right after its start", why="Its process is gone", todo="Look at the host's system log"
            )
        entry = record.ProcessEntry(NAME, pid, ticks)
        await asyncio.to_thread(record.save, request.folder, record.NetworkRecord(NAME, (entry,)))


def command_line(forwards: Iterable[PortForward], servers: Iterable[str]) -> list[str]:
    """passt with the instance's forwards and nothing else that listens.

    It is started in the folder of its sockets, since a Unix socket's path has room for 107 bytes only.
    """
    argv = [find_program("passt"), "--quiet", f"--socket={SOCKET}", f"--pid={_PID_FILE}"]
    argv += ["--no-map-gw", "--address=10.0.2.15", "--netmask=24", "--gateway=10.0.2.2"]
    for server in servers:
        argv += ["--dns", server]
    options = {Protocol.TCP: "--tcp-ports", Protocol.UDP: "--udp-ports"}
    for forward in forwards:
        argv += [options[forward.protocol], f"{forward.host_address}/{forward.host_port}:{forward.guest_port}"]
    return argv


def name_servers(files: Iterable[Path] = _RESOLVER_FILES) -> list[str]:
    """The host's IPv4 name servers that are not on its loopback; empty when there are none."""
    for file in files:
        found = []
        with contextlib.suppress(OSError):
            for line in file.read_text().splitlines():
                words = line.split()
                if len(words) >= 2 and words[0] == "nameserver" and _is_outside(words[1]):
                    found.append(words[1])
        if found:
            return found
    return []


def _is_outside(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return parsed.version == 4 and not parsed.is_loopback


def _uid_of(request: WireRequest) -> int:
    return os.geteuid() if request.uid is None else request.uid


def _own_user(uid: int | None) -> list[str]:
    if uid is None or os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs", "--inh-caps=-all", "--"]
