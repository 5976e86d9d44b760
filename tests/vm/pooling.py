"""A node on real QEMU with guests that stand by, for tests of one image.

As a program (`python -m tests.vm.pooling HOME IMAGE`) it fills its pool, draws a member, says so and waits for its end.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

from insula.base import settings
from insula.base.clock import monotonic_s
from insula.domain.instance import PortForward, Resources
from insula.node.agent import Node, assemble
from insula.protocol.node import InstanceSpec, Nic
from tests.connected import SPACE, connect, open_network
from tests.images import lend
from tests.private_service import free_port

from .life import READY_S, Life
from .test_templates import no_phase

FILLED_S = 400.0
_MEMORY_MIB = {"tiny": 128, "debian-12": 512}


def model(home: Path, image: str) -> InstanceSpec:
    """What members are made for; it is itself never made."""
    resources = Resources(vcpus=1, memory_mib=_MEMORY_MIB[image], disk_gib=4, cpu_percent=100, network_mbps=100)
    return replace(Life(home, 0).spec, image=image, resources=resources)


async def pooling_node(home: Path, image: str) -> Node:
    """Two members at most; the host counts as calm whatever other tests do meanwhile."""
    patch("insula.node.agent.templates.Templates.is_calm", True).start()
    own = {"INSULA_HOME": str(home), "INSULA_ACCELERATOR": "tcg", "INSULA_TEMPLATES": "asked"}
    own["INSULA_NETWORK"] = "user"  # the host's packet filter is not the tests' own
    await asyncio.to_thread(lend, home / "node" / "images", image)
    return await assemble(settings.load(own | {"INSULA_POOL_MEMORY_MIB": str(2 * _MEMORY_MIB[image])}))


async def fill(node: Node, wish: InstanceSpec) -> None:
    """Until two members wait for instances like this one."""
    await node.prepare_image(wish.image, lambda message, percent=-1: None)
    await node.make_template(wish)
    await open_network(node)
    assert await node.draw(wish) is None
    async with asyncio.timeout(FILLED_S):
        while len(node._pool._waiting) < 2:
            await asyncio.sleep(0.1)


async def draw(node: Node, wish: InstanceSpec, **fields: object) -> InstanceSpec:
    """The instance that takes the next member."""
    drawn = await node.draw(wish)
    assert drawn is not None
    spec = replace(wish, id=drawn.id, nics=(Nic(drawn.port.mac, SPACE, drawn.port.id),))
    await connect(node, spec, PortForward(22, free_port()), port=drawn.port)
    return replace(spec, **fields)  # type: ignore[arg-type]  # the tests give fitting values


@dataclass
class Times:
    """Milliseconds from the draw, one value for each instance."""

    running: list[int] = field(default_factory=list)
    command: list[int] = field(default_factory=list)


async def begin(node: Node, spec: InstanceSpec, times: Times | None = None) -> list[str]:
    """Create it as an operation does; returns the phases it went through."""
    begun_s = monotonic_s()
    await node.configure(spec)
    await node.make_disk(spec)
    await node.start(spec.id)
    boot = await node.await_ready(spec.id, READY_S, no_phase)
    if times is not None:
        times.running.append(int((monotonic_s() - begun_s) * 1000))
        await node.execute(spec.id, ["/bin/true"], b"", 60)
        times.command.append(int((monotonic_s() - begun_s) * 1000))
    return [phase.name for phase in boot.phases]


async def _be_killed(home: Path, image: str) -> None:
    wish = model(home, image)
    async with await pooling_node(home, image) as node:
        await fill(node, wish)
        spec = await draw(node, wish)
        await node.configure(spec)
        print(spec.id, flush=True)  # noqa: T201 - whoever kills us waits for it
        await asyncio.sleep(FILLED_S)


if __name__ == "__main__":
    asyncio.run(_be_killed(Path(sys.argv[1]), sys.argv[2]))
