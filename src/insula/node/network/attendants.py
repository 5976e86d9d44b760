"""The programs that attend a space: dnsmasq for addresses and names, slirp4netns for a way out without rights.

Both outlive the service and are found again by what they have left in the space's folder.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from insula.base.errors import HostFailure
from insula.base.run import detach, find_program, run
from insula.domain.network import Space
from insula.node.network import dnsmasq, slirp
from insula.node.network.doors import doors_of
from insula.node.network.layout import Uplink
from insula.node.network.ports import port_in_use
from insula.node.network.record import ProcessEntry
from insula.node.network.steward_link import MARKER, program
from insula.node.runtime.processes import peer_pid, start_ticks
from insula.node.runtime.sockets import connect
from insula.protocol.network import USER_GATEWAYS

ATTENDANTS = "attendants"  # the folder that belongs to the space's user
_START_S = 20.0
_READY_S = 10.0
CIDR = "100.126.0.0/24"
_ADDRESS = "100.126.0.100"
NAME_SERVER = "100.126.0.3"
# slirp4netns(1): the gateway is .2, the name server .3, IPv6 is always fd00::/64.
USER_UPLINK = Uplink("up0", 1500, (f"{_ADDRESS}/24", "fd00::100/64"), USER_GATEWAYS)


@dataclass(frozen=True)
class Place:
    """Where a space's programs run: its folder, its user (None: ours), and the process that keeps its namespaces."""

    folder: Path
    uid: int | None
    holder: int

    @property
    def attendants(self) -> Path:
        return self.folder / ATTENDANTS

    def prepare(self) -> None:
        """The folder that the programs may write to. Blocking; may be repeated."""
        self.attendants.mkdir(mode=0o700, exist_ok=True)
        if self.uid is not None:
            os.chown(self.attendants, self.uid, self.uid)

    @property
    def entrance(self) -> list[str]:
        """The command that runs another one inside, as the space's user."""
        become = []
        if self.uid is not None:
            become = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--no-new-privs", "--"]
        return [*become, "nsenter", f"--target={self.holder}", "--user", "--net", "--preserve-credentials", "--"]


def write_names(place: Place, files: dnsmasq.Files) -> None:
    """Put down what dnsmasq reads. Blocking."""
    for name, text in (
        (dnsmasq.CONFIGURATION, files.configuration),
        (dnsmasq.RESERVATIONS, files.reservations),
        (dnsmasq.HOSTS, files.hosts),
    ):
        path = place.attendants / name
        path.unlink(missing_ok=True)  # whoever made it, it is ours now
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w") as file:
            file.write(text)


def read_names(place: Place) -> dnsmasq.Files | None:
    """What was put down last, or None. Blocking."""
    try:
        texts = [
            (place.attendants / name).read_text()
            for name in (dnsmasq.CONFIGURATION, dnsmasq.RESERVATIONS, dnsmasq.HOSTS)
        ]
    except FileNotFoundError:
        return None
    return dnsmasq.Files(*texts)


async def start_dnsmasq(place: Place) -> ProcessEntry:
    """It answers when this returns. Raises HostFailure with its words."""
    pid_file = place.attendants / dnsmasq.PID
    pid_file.unlink(missing_ok=True)
    argv = [*place.entrance, find_program("dnsmasq"), f"--conf-file={place.attendants / dnsmasq.CONFIGURATION}"]
    # Inside there is one user, who is called root there, and no group to change to.
    await run([*argv, "--user=root", "--group="], timeout_s=_START_S, env={MARKER: str(place.folder)})
    return await asyncio.to_thread(_entry_of, "dnsmasq", int(pid_file.read_text()), place)


async def start_slirp(place: Place) -> ProcessEntry:
    """It forwards packets when this returns, and its device `up0` is there. Raises HostFailure with its words."""
    api_socket = place.attendants / slirp.API_SOCKET
    api_socket.unlink(missing_ok=True)
    log = place.folder / "slirp4netns.log"
    ready, theirs = os.pipe()
    try:
        try:
            words = slirp.command_line(find_program("slirp4netns"), theirs, CIDR)
            argv = program("-", _uid(place), "run", *(word.replace("{pid}", str(place.holder)) for word in words))
            env = {MARKER: str(place.folder)}
            await detach(argv, log=log, env=env, cwd=place.attendants, pass_fds=(theirs,))
        finally:
            os.close(theirs)
        await _await_ready(ready, log)
    finally:
        os.close(ready)
    with await connect(api_socket, _START_S) as connection:
        return await asyncio.to_thread(_entry_of, "slirp4netns", peer_pid(connection), place)


async def _await_ready(pipe: int, log: Path) -> None:
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
            "The way out of a network did not come up",
            why=f"slirp4netns said: {said or 'nothing'}",
            todo="Look at the host with `insula doctor`",
            code="network-failed",
        )


async def set_doors(place: Place, space: Space) -> None:
    """Open and close the host's ports that lead into the space. Raises Conflict (`port-in-use`), HostFailure."""
    api_socket = place.attendants / slirp.API_SOCKET
    forwards = {
        (protocol, f.forward.host_address, f.forward.host_port, door): f
        for (protocol, door), f in doors_of(space).items()
    }
    there = await slirp.doors(api_socket)
    for door, number in there.items():
        if door not in forwards:
            await slirp.close_door(api_socket, number)
    for door, forward in forwards.items():
        if door not in there and not await slirp.open_door(api_socket, door, _ADDRESS):
            raise port_in_use(forward.forward)


def _uid(place: Place) -> str:
    return "-1" if place.uid is None else str(place.uid)


def _entry_of(name: str, pid: int, place: Place) -> ProcessEntry:
    ticks = start_ticks(pid)
    # Whoever writes the file with the number must not make us end somebody else's process later.
    owner = Path(f"/proc/{pid}").stat().st_uid if ticks is not None else -1
    if ticks is None or owner != (os.geteuid() if place.uid is None else place.uid):
        raise HostFailure(
            f"{name} ended right after its start",
            why="Its process is gone",
            todo=f"Look into {place.attendants}",
            code="network-failed",
        )
    return ProcessEntry(name, pid, ticks)
