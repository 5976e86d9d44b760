"""A network with one machine in it, which leads nowhere: for guests that nobody is to meet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from insula.domain.network import Member, Network, Space
from insula.domain.port import Port
from insula.node.network.keeper import SpaceKeeper
from insula.protocol.network import SpaceOrder, Way

_NETWORK = Network("net_scratch", 1, "10.42.0.0/16", "fd42:5c::/64")
_PORT = Port("prt_scratch", 1, "ins_scratch", _NETWORK.id, "", "10.42.0.16", "fd42:5c::10")


async def make(folder: Path, mac: str, uid: int | None) -> int:
    """The open tap for the machine. The network is in `folder` until SpaceKeeper removes it. Raises HostFailure."""
    port = replace(_PORT, mac=mac)
    space = Space("spc_scratch", (_NETWORK,), (Member(port.instance_id, "scratch"),), (port,))
    keeper = SpaceKeeper(folder, uid)
    try:
        await keeper.apply(SpaceOrder(space, 1, Way.NONE))
        return await keeper.open_port(port.id)
    except BaseException:
        await keeper.remove()
        raise
    finally:
        keeper.close()
