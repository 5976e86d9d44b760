"""No network at all: for the fake driver, whose machines have no cable to plug in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from insula.domain.instance import PortForward
from insula.node.network.wiring import WireRequest, Wiring


class NoNetwork:
    """Implements InstanceNetwork and CanForward by connecting nothing."""

    name = "none"

    async def wire(self, request: WireRequest) -> Wiring:
        return Wiring()

    async def forward(self, folder: Path, forwards: tuple[PortForward, ...]) -> None:
        return

    async def unwire(self, folder: Path) -> None:
        return

    async def is_wired(self, folder: Path) -> bool:
        return True

    async def broken(self, folder: Path) -> str:
        await asyncio.Event().wait()  # what is not connected cannot break
        return ""

    def missing(self) -> Mapping[str, str]:
        return {"network": "The fake driver's machines are not connected; set INSULA_DRIVER=qemu for real ones"}
