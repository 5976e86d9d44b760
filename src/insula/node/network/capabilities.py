"""What networks this host can have, found out by making one that goes at once."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from insula.base.errors import InsulaError
from insula.base.run import run
from insula.domain.network import Member, Network, Space
from insula.domain.port import Port
from insula.node.network.foreign_rules import closed_chains, is_known
from insula.node.network.keeper import SpaceKeeper
from insula.protocol.network import SpaceOrder, Way
from insula.protocol.node import Check

_ROUTED = "networks: a way out through the host"
_LIST_S = 10.0
_PORT = Port("prt_try", 1, "ins_try", "net_try", "02:00:00:00:00:01", "10.254.0.5", "fd00:fe::5")
_SPACE = Space(
    "prj_try",
    (Network("net_try", 1, "10.254.0.0/24", "fd00:fe::/64"),),
    (Member("ins_try", "try"),),
    (_PORT,),
)
_LIMITED = replace(_SPACE, ports=(replace(_PORT, megabits_per_second=100),))

# In this order, each on top of what was made before: name, space, way out, what is lost without it.
_STEPS = (
    ("networks", _SPACE, Way.NONE, "Install nftables and dnsmasq-base, and allow user namespaces and /dev/net/tun"),
    (
        "networks: a way out without rights",
        _SPACE,
        Way.USER,
        "Install slirp4netns; without it guests reach nobody outside",
    ),
    ("networks: limits", _LIMITED, Way.NONE, "A kernel with tbf, ifb and mirred; without it bandwidth is not limited"),
)


async def try_networks() -> list[Check]:
    """One check for each thing that networks need; nothing stays."""
    checks: list[Check] = []
    with tempfile.TemporaryDirectory(prefix="insula-try-") as name:
        keeper = SpaceKeeper(Path(name) / "space", None)
        try:
            for revision, (what, space, way, todo) in enumerate(_STEPS):
                try:
                    await keeper.apply(SpaceOrder(space, revision, way))
                except InsulaError as error:
                    verdict = "note" if checks and checks[0].verdict == "ok" else "problem"
                    checks.append(Check(what, verdict, error.why or error.what, error.todo or todo))
                else:
                    checks.append(Check(what, "ok", "A network was made and taken away"))
        finally:
            await keeper.remove()
    return [*checks, await routed_check(os.geteuid() == 0)]


async def routed_check(is_root: bool) -> Check:
    """Whether spaces may reach the outside through the host's own packet filter."""
    if not is_root:
        return Check(_ROUTED, "note", "Needs root; networks reach the outside through slirp4netns, which is slower")
    try:
        listing = (await run(["nft", "--json", "list", "chains"], timeout_s=_LIST_S)).text
    except InsulaError as error:
        return Check(_ROUTED, "note", error.why or error.what, error.todo)
    closed = [" ".join(chain) for chain in closed_chains(listing) if not is_known(chain)]
    if closed:
        detail = f"{', '.join(closed)} of this host drops what it is not told to forward"
        return Check(
            _ROUTED, "note", detail, "Allow devices isv* there; until then slirp4netns is used, which is slower"
        )
    return Check(_ROUTED, "ok", "Nobody else on this host drops what is forwarded, or is told to let it pass")
