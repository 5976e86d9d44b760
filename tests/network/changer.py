"""Changes a space's networks again and again until it is killed: `python -m tests.network.changer FOLDER UID`."""

from __future__ import annotations

import asyncio
import itertools
import sys
from dataclasses import replace
from pathlib import Path

from insula.domain.firewall import Action, Direction, Firewall, PortRange, Rule, Traffic
from insula.domain.network import Network, Space
from insula.domain.port import Port
from insula.node.network.keeper import SpaceKeeper
from insula.protocol.network import SpaceOrder, Way
from tests.network.world import port_of, space_of

RED = Network("net_red", 1, "10.1.0.0/24", "fd00:1::/64")
BLUE = Network("net_blue", 2, "10.2.0.0/24", "fd00:2::/64")
STAYING = (port_of(1, RED), port_of(2, RED))


def changed(number: int) -> Space:
    """The ports 1 and 2 are in all of these, and reach each other; everything else differs."""
    further: tuple[Port, ...] = tuple(port_of(3 + each, (RED, BLUE)[each % 2]) for each in range(number % 9))
    rules = tuple(
        Rule(f"rul_{number % 4}_{each}", Direction.INBOUND, Action.DROP, Traffic.TCP, (PortRange(each + 1, each + 1),))
        for each in range(number % 4 * 5)
    )
    firewalls = (Firewall("fwl_all", rules, ("ins_2", "ins_3"), (), Action.ACCEPT, Action.ACCEPT),) if rules else ()
    joined = (("net_blue", "net_red"),) if number % 2 else ()
    return replace(space_of([RED, BLUE], (*STAYING, *further)), firewalls=firewalls, joined=joined)


async def main(folder: Path, uid: int | None) -> None:
    keeper = SpaceKeeper(folder, uid)
    order = await keeper.load()
    assert order is not None
    print("ready", flush=True)  # noqa: T201 - whoever started this waits for it
    for revision in itertools.count(order.revision + 1):
        await keeper.apply(SpaceOrder(changed(revision), revision, Way.USER if revision % 11 == 0 else Way.NONE))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), None if sys.argv[2] == "-" else int(sys.argv[2])))
