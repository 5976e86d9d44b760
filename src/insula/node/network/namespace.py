"""A network namespace for each instance: bridge, tap, speed limits, and slirp4netns to the outside.

Everything in it belongs to the instance's own unprivileged user. A guest reaches the internet and its own forwards,
and never the host's loopback. Nobody else is on its segment, so a forged MAC address deceives only the forger.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from insula.base.errors import HostFailure
from insula.base.run import find_program, run
from insula.domain.instance import PortForward
from insula.node.network import ports, record, shaping, slirp
from insula.node.network.wiring import SOCKETS, WireRequest, Wiring, make_socket_folder

NAME = "namespace"
_MAKE_S = 20.0
_READY_S = 10.0
# Imported, not run as a script: then its compiled form is used.
_IMPORT_AND_RUN = "import sys; sys.path.append(sys.argv[1]); import inside; inside.run(sys.argv[2:])"


class NamespaceNetwork:
    """Implements InstanceNetwork and CanForward. `lacks` is what :func:`detect.choose` found missing on this host."""

    name = NAME

    def __init__(self, lacks: Mapping[str, str] | None = None) -> None:
        self._lacks = dict(lacks or {})

    def missing(self) -> Mapping[str, str]:
        return self._lacks

    async def wire(self, request: WireRequest) -> Wiring:
        """See InstanceNetwork."""
        await self.unwire(request.folder)
        await asyncio.to_thread(ports.require_free, request.forwards)
        try:
            tap = await self._make(request)
        except BaseException:
            await self.unwire(request.folder)
            raise
        return Wiring(tap_fd=tap)

    async def unwire(self, folder: Path) -> None:
        """See InstanceNetwork; the namespace goes with its last process."""
        await record.end_processes(folder)

    async def is_wired(self, folder: Path) -> bool:
        found = await asyncio.to_thread(record.load, folder)
        return found is not None and found.way == NAME and record.is_alive(found)

    async def broken(self, folder: Path) -> str:
        """See InstanceNetwork."""
        return await record.first_end(folder)

    async def forward(self, folder: Path, forwards: tuple[PortForward, ...]) -> None:
        """See CanForward."""
        await asyncio.to_thread(ports.require_free, forwards)
        for forward in forwards:
            await slirp.add_forward(folder / SOCKETS / slirp.API_SOCKET, forward)

    async def _make(self, request: WireRequest) -> int:
        """Namespace, limits and forwards; returns the open tap for the machine."""
        make_socket_folder(request)
        log = request.folder / "network.log"
        log.touch(mode=0o600)
        ready, ready_theirs = os.pipe()
        try:
            try:
                tap = await _run_inside(request, slirp.command_line(_program(), ready_theirs), ready_theirs)
            finally:
                os.close(ready_theirs)
            limits = asyncio.create_task(_limit(request))
            try:
                await await_ready(ready, log)
                await self.forward(request.folder, request.forwards)
                await limits
            except BaseException:
                limits.cancel()
                await asyncio.gather(limits, return_exceptions=True)
                os.close(tap)
                raise
        finally:
            os.close(ready)
        return tap


def _program() -> str:
    return find_program("slirp4netns")


async def _run_inside(request: WireRequest, slirp_argv: list[str], ready_fd: int) -> int:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        order = (
            "-1" if request.uid is None else str(request.uid),
            str(record.record_path(request.folder)),
            str(request.folder / "network.log"),
            str(request.folder),
            str(request.folder / SOCKETS),
            str(theirs.fileno()),
            str(ready_fd),
            *(find_program("sleep"), "infinity"),
            "--",
            *slirp_argv,
        )
        argv = [sys.executable, "-I", "-S", "-c", _IMPORT_AND_RUN, str(Path(__file__).parent), *order]
        await run(argv, timeout_s=_MAKE_S, pass_fds=(theirs.fileno(), ready_fd))
        _, taps, _, _ = socket.recv_fds(ours, 16, 1)
        os.set_inheritable(taps[0], False)
        return taps[0]


async def _limit(request: WireRequest) -> None:
    if request.network_mbps <= 0:
        return
    found = await asyncio.to_thread(record.load, request.folder)
    holder = next(entry.pid for entry in found.processes if entry.name == "holder") if found is not None else 0
    await shaping.limit(entrance(holder), request.network_mbps)


def entrance(pid: int) -> list[str]:
    """The command that runs another one in the network namespace of this process."""
    into_user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
    return ["nsenter", f"--target={pid}", *into_user, "--net", "--"]


async def await_ready(pipe: int, log: Path) -> None:
    """slirp4netns writes one byte when it forwards packets, and closes the pipe when it fails."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(pipe, readable.set)
    try:
        async with asyncio.timeout(_READY_S):
            await readable.wait()
        told = os.read(pipe, 1)
    except TimeoutError:
        told = b""
    finally:
        loop.remove_reader(pipe)
    if told != b"1":
        said = log.read_text(errors="replace").strip()[-2000:]
        raise HostFailure(
            "The instance's network did not come up",
            why=f"slirp4netns said: {said or 'nothing'}",
            todo="Look at the host with `insula doctor`",
            code="network-failed",
        )
