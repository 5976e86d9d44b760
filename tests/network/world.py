"""A space without machines: the tests hold the taps of its ports, and one that stands for the outside."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from insula.domain.network import Member, Network, Space
from insula.domain.port import Port
from insula.node.network.host_side import HostSide
from insula.node.network.keeper import SpaceKeeper
from insula.node.network.steward_link import StewardLink
from insula.protocol.network import SpaceOrder, Way
from tests.network import frames

UID = 1_999_999_001 if os.geteuid() == 0 else None
OUTSIDE = "outside"
_OUTSIDE_MAC = "02:99:00:00:00:02"
_QUIET_S = 0.03


def can_have_spaces() -> bool:
    return os.access("/dev/net/tun", os.R_OK | os.W_OK)


def port_of(number: int, network: Network, **parts: object) -> Port:
    """Port `prt_N` of instance `ins_N`, with the addresses that end in N + 16."""
    last = number + 16
    return Port(
        f"prt_{number}",
        number,
        f"ins_{number}",
        network.id,
        f"02:00:00:00:00:{number:02x}",
        network.ipv4.replace(".0/24", f".{last}") if network.ipv4 else "",
        network.ipv6.replace("::/64", f"::{last:x}") if network.ipv6 else "",
        **parts,  # type: ignore[arg-type]
    )


def space_of(networks: Sequence[Network], ports: Sequence[Port], **parts: object) -> Space:
    instances = dict.fromkeys(port.instance_id for port in ports)
    members = tuple(Member(instance, instance.replace("_", "-")) for instance in instances)
    return Space("prj_test", tuple(networks), **{"members": members, "ports": tuple(ports), **parts})  # type: ignore[arg-type]


class World:
    """One space that stands, with its ports' taps open."""

    def __init__(self, folder: Path, host: HostSide | None = None) -> None:
        self.keeper = SpaceKeeper(folder, UID, host)
        self.taps: dict[str, int] = {}
        self.space = Space("prj_test")
        self._revision = 0

    async def apply_only(self, space: Space, way: Way = Way.NONE) -> None:
        """Without opening new ports' taps."""
        self._revision += 1
        await self.keeper.apply(SpaceOrder(space, self._revision, way))

    async def apply(self, space: Space, way: Way = Way.NONE) -> None:
        await self.apply_only(space, way)
        gone = {name for name in self.taps if name != OUTSIDE} - {port.id for port in space.ports}
        for name in gone:
            os.close(self.taps.pop(name))
        for port in space.ports:
            if port.id not in self.taps:
                self.taps[port.id] = await self.keeper.open_port(port.id, offload=False)
        self.space = space
        for port in space.ports:
            await self._round_trip(port.id)

    async def open_outside(self) -> None:
        """A way out that leads to us."""
        steward = self.steward
        await steward.ask(
            "change",
            changes=[
                ("tap", "up9"),
                ("link", "up9", "06:99:00:00:00:01", 1500),
                ("address", "up9", "100.127.9.1/24"),
                ("address", "up9", "fd99::1/64"),
                ("neighbour", "up9", "100.127.9.2", _OUTSIDE_MAC),
                ("neighbour", "up9", "fd99::2", _OUTSIDE_MAC),
                ("route", "0.0.0.0/0", "up9", "100.127.9.2"),
                ("route", "::/0", "up9", "fd99::2"),
            ],
        )
        self.taps[OUTSIDE] = await steward.ask_for_descriptor("tap", device="up9", offload=False)
        await self._round_trip(OUTSIDE)

    @property
    def steward(self) -> StewardLink:
        steward = self.keeper._steward
        assert steward is not None
        return steward

    def port(self, name: str) -> Port:
        return next(port for port in self.space.ports if port.id == name)

    def send(self, name: str, frame: bytes) -> None:
        os.write(self.taps[name], frame)

    def send_packet(self, name: str, source: str, destination: str, traffic: str, body: bytes) -> None:
        """From the port's own card, or from the router's other side when it comes from outside."""
        protocol = frames.protocol_of(source, traffic)
        if name == OUTSIDE:
            frame = frames.ip(_OUTSIDE_MAC, source, destination, protocol, body)
            self.send(name, bytes.fromhex("069900000001") + frame[6:])
            return
        self.send(name, frames.ip(self.port(name).mac, source, destination, protocol, body))

    def frames_at(self, name: str) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(os.read(self.taps[name], 4096))
            except BlockingIOError:
                return found

    async def seen_at(self, name: str) -> list[frames.Seen]:
        """IP packets that have come there, without what the router says by itself."""
        await asyncio.sleep(_QUIET_S)
        seen = [packet for packet in map(frames.parse, await self._round_trip(name)) if packet is not None]
        return [packet for packet in seen if not packet.source.startswith("fe80") and packet.source != "::"]

    async def _round_trip(self, name: str) -> list[bytes]:
        """Ask the router for its hardware address until it answers: then what was sent before has come.

        A tap that was just opened carries nothing until the kernel's worker has seen to it.
        """
        if name == OUTSIDE:
            question = frames.arp(_OUTSIDE_MAC, "100.127.9.2", "100.127.9.1")
        else:
            port = self.port(name)
            network = next(network for network in self.space.networks if network.id == port.network_id)
            question = frames.arp(port.mac, port.ipv4, network.router4)
        found: list[bytes] = []
        async with asyncio.timeout(10):
            while not any(frame[12:14] == b"\x08\x06" for frame in found):
                self.send(name, question)
                await asyncio.sleep(_QUIET_S)
                found += self.frames_at(name)
        return [frame for frame in found if frame[12:14] != b"\x08\x06"]

    async def clear(self) -> None:
        await asyncio.sleep(_QUIET_S)
        for name in self.taps:
            self.frames_at(name)

    async def end(self) -> None:
        for tap in self.taps.values():
            os.close(tap)
        self.taps.clear()
        await self.keeper.remove()
