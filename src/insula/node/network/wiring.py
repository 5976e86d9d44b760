"""What a node needs of networks: cards of machines plugged into what control orders, and taken out again."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from insula.domain.instance import PortForward
from insula.domain.network import Space
from insula.domain.port import Port
from insula.protocol.network import NetworkNode, PortTraffic
from insula.protocol.node import Nic


class Wiring:
    """The tap devices that a machine's cards are plugged into, open, in the order of the cards; without some, nothing.

    As a context manager it closes the descriptors, which the machine has inherited by then.
    """

    def __init__(self, taps: Sequence[int] = ()) -> None:
        self.taps = list(taps)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self.taps:
            os.close(self.taps.pop())


class InstanceNetwork(NetworkNode, Protocol):
    """One way of having networks. What was ordered survives a restart of the service."""

    @property
    def name(self) -> str: ...

    async def open(self) -> None:
        """Find what was made before, and mend what happened to it meanwhile; before anything is plugged in."""
        ...

    async def watch(self) -> None:
        """Look after it until cancelled."""
        ...

    def close(self) -> None:
        """Let go of it; it goes on by itself."""
        ...

    async def plug(self, folder: Path, nics: Sequence[Nic], uid: int | None) -> Wiring:
        """Open what the cards of a machine are plugged into, whose files are in `folder`, and whose user is `uid`.

        Raises NotFound for a port that was not ordered, and HostFailure; nothing stays behind then.
        """
        ...

    async def open_card(self, nic: Nic) -> int:
        """What a further card of a machine is plugged into, open; the caller closes it. Raises as :meth:`plug` does."""
        ...

    async def unplug(self, folder: Path) -> None:
        """Take away what was made for that machine alone; it has ended. May be repeated."""
        ...

    async def reserve(self, space_id: str, instance_id: str, mac: str) -> Port:
        """A port for a guest that nobody has asked for yet, which is there until :meth:`release`, or until control
        orders one like it. Raises NotFound and HostFailure."""
        ...

    async def release(self, space_id: str, port: Port) -> None:
        """Take a reserved port away, unless it is control's now. May be repeated."""
        ...

    def port(self, nic: Nic) -> Port | None:
        """The port of a card, as control has ordered it."""
        ...

    def forwards(self, nics: Sequence[Nic]) -> tuple[PortForward, ...]:
        """The host's ports that lead to these cards."""
        ...

    async def card_traffic(self) -> Mapping[str, PortTraffic]:
        """What each card has sent and received, by the ids of their ports; of spaces that answer. Cheap."""
        ...

    def epochs(self) -> Mapping[str, str]:
        """The spaces that stand, and for each what changes when it was made anew."""
        ...

    async def open_metadata(self, space_id: str) -> socket.socket:
        """Listens in the space where guests ask for their metadata. Raises NotFound, HostFailure."""
        ...

    def instance_at(self, space_id: str, address: str) -> str | None:
        """Which instance has the address there."""
        ...

    def space(self, space_id: str) -> Space | None:
        """The space as control has ordered it."""
        ...

    def missing(self) -> Mapping[str, str]:
        """What cannot be had on this host: capability → why, and what to do."""
        ...
