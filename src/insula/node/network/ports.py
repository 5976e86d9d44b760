"""Whether a host's port is free, and who holds it otherwise."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable
from pathlib import Path

from insula.base.errors import Conflict, InvalidInput
from insula.domain.instance import PortForward, Protocol


def require_free(forwards: Iterable[PortForward]) -> None:
    """Raise :class:`Conflict` (`port-in-use`, with the program that holds it, if it can be known) or InvalidInput.

    Blocking, but local and quick.
    """
    for forward in forwards:
        try:
            _try_to_bind(forward)
        except OSError as error:
            raise _refusal(forward, error) from error


def _try_to_bind(forward: PortForward) -> None:
    kind = socket.SOCK_STREAM if forward.protocol is Protocol.TCP else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in forward.host_address else socket.AF_INET
    with socket.socket(family, kind) as attempt:
        if forward.protocol is Protocol.TCP:
            # Connections of an earlier listener that are still in TIME_WAIT do not count.
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        attempt.bind((forward.host_address, forward.host_port))


def _refusal(forward: PortForward, error: OSError) -> Conflict | InvalidInput:
    place = f"{forward.host_address}:{forward.host_port}/{forward.protocol}"
    if error.errno == errno.EADDRINUSE:
        return port_in_use(forward)
    if error.errno == errno.EACCES:
        return Conflict(
            f"Port {place} may not be used",
            why="Ports below net.ipv4.ip_unprivileged_port_start are kept for root, and networks run without root",
            todo="Choose a port from 1024 on, or allow it: sysctl net.ipv4.ip_unprivileged_port_start=80",
            code="port-privileged",
        )
    return InvalidInput(
        f"Port {place} cannot be used",
        why=error.strerror or str(error),
        todo="Use an address of this host, such as 127.0.0.1, or 0.0.0.0 for all",
        code="invalid-forward",
        fields={"forwards": f"{place}: {error.strerror}"},
    )


def port_in_use(forward: PortForward) -> Conflict:
    """The error that names the port and its holder."""
    place = f"{forward.host_address}:{forward.host_port}/{forward.protocol}"
    return Conflict(
        f"Port {place} is already in use",
        why=f"It is held by {holder_of(forward) or 'a program that we may not look at'}",
        todo="Choose another host port, or stop that program",
        code="port-in-use",
    )


def holder_of(forward: PortForward, proc: Path = Path("/proc")) -> str:
    """`name (process 123)` of who has bound the port; empty when that cannot be seen."""
    inodes = set()
    for table in (f"{forward.protocol}", f"{forward.protocol}6"):
        with contextlib.suppress(OSError):
            inodes |= _bound_inodes((proc / "net" / table).read_text(), forward)
    if not inodes:
        return ""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in proc.iterdir():
        if process.name.isdigit() and _holds(process, wanted):
            name = (process / "comm").read_text().strip()
            return f"{name} (process {process.name})"
    return ""


def _bound_inodes(table: str, forward: PortForward) -> set[str]:
    # Columns: sl, local address, remote address, state, queues, timer, retransmits, uid, timeout, inode (proc(5)).
    listening = {"0A"} if forward.protocol is Protocol.TCP else {"07"}
    rows = (line.split() for line in table.splitlines()[1:])
    port = f":{forward.host_port:04X}"
    return {row[9] for row in rows if len(row) > 9 and row[1].endswith(port) and row[3] in listening}


def _holds(process: Path, wanted: set[str]) -> bool:
    try:
        return any(str(link.readlink()) in wanted for link in (process / "fd").iterdir())
    except OSError:  # not ours, or gone
        return False
