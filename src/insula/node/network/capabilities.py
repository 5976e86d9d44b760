"""What networks this host can have, found out by making one that goes at once."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from insula.base.errors import InsulaError
from insula.domain.network import Member, Network, Port, Space
from insula.node.network.keeper import SpaceKeeper
from insula.protocol.network import SpaceOrder, Way
from insula.protocol.node import Check

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
    return checks
