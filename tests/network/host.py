"""A host that is another namespace, with a network card of its own, at whose other end the test stands."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from insula.domain.network import Network
from insula.node.network.host_side import HostSide
from insula.node.network.steward_link import StewardLink
from tests.network import frames
from tests.network.world import port_of, space_of

RED = Network("net_red", 1, "10.1.0.0/24", "fd00:1::/64")
SPACE = space_of([RED], (port_of(1, RED), port_of(2, RED)))
HOST_MAC, NEAR_MAC = "06:77:00:00:00:01", "02:77:00:00:00:02"
HOST, NEAR = "192.0.2.1", "192.0.2.2"
HOST6, NEAR6 = "2001:db8:77::1", "2001:db8:77::2"
_THEIRS = "add table inet theirs\nadd chain inet theirs keep\nadd rule inet theirs keep tcp dport 1 accept\n"


class Host:
    """A namespace with one card, at whose other end the test stands."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.side = HostSide(self._start, require_free=lambda _: None)  # nobody else is on this one
        self.holder = 0

    async def open(self) -> None:
        self._folder.mkdir(mode=0o711, parents=True)
        self.steward, entry = await StewardLink.create(self._folder, None)
        await self.steward.keep()
        self.holder = entry.pid
        await self.steward.ask(
            "change",
            changes=[
                ("link", "lo", "", 65536),
                ("tap", "lan0"),
                ("link", "lan0", HOST_MAC, 1500),
                ("address", "lan0", f"{HOST}/24"),
                ("address", "lan0", f"{HOST6}/64"),
                ("neighbour", "lan0", NEAR, NEAR_MAC),
                ("neighbour", "lan0", NEAR6, NEAR_MAC),
                ("route", f"{NEAR}/32", "lan0", "", ""),
                ("route", f"{NEAR6}/128", "lan0", "", ""),
            ],
        )
        # Unlike the taps of instances a host's card answers for nobody else by itself.
        await self.steward.ask("set", settings=[("ipv4/conf/lan0/proxy_arp", "0")])
        await self.steward.ask("rules", text=_THEIRS)
        self._card = await self.steward.ask_for_descriptor("tap", device="lan0", offload=False)

    async def _start(self) -> StewardLink:
        return await StewardLink.enter(self._folder, None, self.holder)

    def send(self, source: str, destination: str, traffic: str, body: bytes) -> None:
        frame = frames.ip(NEAR_MAC, source, destination, frames.protocol_of(source, traffic), body)
        os.write(self._card, bytes.fromhex(HOST_MAC.replace(":", "")) + frame[6:])

    async def received(self) -> list[bytes]:
        """Everything that has come out of the card since the last time."""
        await asyncio.sleep(0.1)
        found = []
        while True:
            try:
                found.append(os.read(self._card, 4096))
            except BlockingIOError:
                return found

    def send_frame(self, frame: bytes) -> None:
        os.write(self._card, frame)

    async def seen(self) -> list[frames.Seen]:
        found = map(frames.parse, await self.received())
        return [p for p in found if p is not None and p.protocol in {frames.TCP, frames.UDP}]

    def close(self) -> None:
        self.side.close()
        self.steward.close()
        os.close(self._card)
        os.kill(self.holder, signal.SIGKILL)
