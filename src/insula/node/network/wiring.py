"""What the node needs of networks: connect an instance's machine to the world, and take that away again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from insula.domain.instance import PortForward

# The environment variable that names the instance's folder in every process of its network.
MARKER = "INSULA_INSTANCE"

# The folder in an instance's folder that belongs to the instance's user: sockets are made there.
SOCKETS = "network"


@dataclass(frozen=True)
class WireRequest:
    """One instance's connection. `folder` is the instance's; `network_mbps` 0 means unlimited; `uid` None our own."""

    instance_id: str
    folder: Path
    mac: str
    forwards: tuple[PortForward, ...] = ()
    network_mbps: int = 0
    uid: int | None = None


def make_socket_folder(request: WireRequest) -> Path:
    """An empty folder that the instance's user may write to, and nobody else may enter."""
    folder = request.folder / SOCKETS
    folder.mkdir(mode=0o700, exist_ok=True)
    if request.uid is not None:
        os.chown(folder, request.uid, request.uid)
    for left in folder.iterdir():
        left.unlink()
    return folder


class Wiring:
    """What the machine's network card is plugged into: an open tap device, a stream socket's path, or nothing.

    As a context manager it closes the tap's descriptor, which the machine has inherited by then.
    """

    def __init__(self, *, tap_fd: int | None = None, socket: Path | None = None) -> None:
        self.tap_fd = tap_fd
        self.socket = socket

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.tap_fd is not None:
            os.close(self.tap_fd)
            self.tap_fd = None


class InstanceNetwork(Protocol):
    """One way of connecting instances. Both directions may be repeated and survive a restart of the service."""

    @property
    def name(self) -> str: ...

    async def wire(self, request: WireRequest) -> Wiring:
        """Connect; an earlier connection of the instance is replaced.

        Raises Conflict (code `port-in-use`, with the port and its holder) and HostFailure; nothing stays behind then.
        """
        ...

    async def unwire(self, folder: Path) -> None:
        """Take away every process and file of the connection recorded in `folder`."""
        ...

    async def is_wired(self, folder: Path) -> bool:
        """Whether the connection recorded in `folder` still stands."""
        ...

    async def broken(self, folder: Path) -> str:
        """Return when a process of the connection has ended, with its name; never while all live."""
        ...

    def missing(self) -> Mapping[str, str]:
        """What this way cannot do here: capability → why, and what to do."""
        ...


@runtime_checkable
class CanForward(Protocol):
    """A network that takes forwards while it stands."""

    async def forward(self, folder: Path, forwards: tuple[PortForward, ...]) -> None:
        """Open them on the connection recorded in `folder`, which has none of them yet.

        Raises Conflict (code `port-in-use`) and HostFailure; some of them may be open then.
        """
        ...
