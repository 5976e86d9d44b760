"""Whether our address is free, and who has it when it is not."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from insula.base.errors import Conflict, HostFailure


def check_free(host: str, port: int) -> None:
    """Raise Conflict that names the holder when `host:port` is taken, HostFailure when it is no address of ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise refused(host, port, error) from error


def refused(host: str, port: int, error: OSError) -> HostFailure | Conflict:
    """The error for an address that could not be bound."""
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            f"Port {port} on {host} is taken",
            why=holder(port) or "Another program listens there",
            todo="End that program, or choose another address: INSULA_LISTEN=127.0.0.1:7790",
            code="port-taken",
        )
    why = error.strerror or str(error)
    if error.errno == errno.EACCES:
        why += "; ports below 1024 are root's"
    return HostFailure(
        f"The service cannot listen on {host}:{port}",
        why=why,
        todo="Set INSULA_LISTEN to an address of this host, like 127.0.0.1:7780",
        code="cannot-listen",
    )


def holder(port: int) -> str:
    """`python3 (process 123)` of the program that listens on a TCP port; empty when we may not know."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening(Path("/proc/net") / table, port)}
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(descriptor.readlink()) in wanted for descriptor in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name}) listens there"
        except OSError:
            continue  # it ended meanwhile, or is somebody else's
    return ""


def _listening(table: Path, port: int) -> list[str]:
    """Inodes of the sockets that listen on `port` (columns of /proc/net/tcp: proc(5))."""
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except FileNotFoundError:
        return []
    return [row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port]
