"""What the doctor makes of the host's own packet filter."""

from __future__ import annotations

import json

from insula.node.network import foreign_rules
from insula.node.network.capabilities import routed_check

_FORWARD = ("ip", "filter", "FORWARD")


def _chain(family: str, table: str, name: str, hook: str = "", policy: str = "accept") -> dict[str, object]:
    hooked = {"hook": hook, "policy": policy, "type": "filter"} if hook else {}
    return {"chain": {"family": family, "table": table, "name": name, **hooked}}


def _listing(*items: object) -> str:
    return json.dumps({"nftables": [{"metainfo": {}}, *items]})


def test_chains_that_do_not_forward_are_told_unless_they_are_ours() -> None:
    listing = _listing(
        {"table": {"family": "ip", "name": "filter"}},
        _chain(*_FORWARD, "forward", "drop"),
        _chain("ip", "filter", "INPUT", "input", "drop"),
        _chain("ip", "filter", "DOCKER"),
        _chain("ip6", "filter", "FORWARD", "forward"),
        _chain("inet", "firewalld", "filter_FORWARD", "forward"),
        _chain("inet", "mine", "forward", "forward", "drop"),
        _chain("inet", "insula", "forward", "forward", "drop"),
    )
    closed = foreign_rules.closed_chains(listing)
    assert closed == [_FORWARD, ("inet", "firewalld", "filter_FORWARD"), ("inet", "mine", "forward")]
    assert [foreign_rules.is_known(chain) for chain in closed] == [True, True, False]


def test_ours_comes_once_and_goes_again() -> None:
    theirs: dict[str, object] = {"rule": {"handle": 5, "comment": "docker"}}
    first = foreign_rules.opening(_FORWARD, _listing(theirs))
    assert first.splitlines() == [
        'add rule ip filter FORWARD iifname "isv*" counter accept comment "insula"',
        'add rule ip filter FORWARD oifname "isv*" counter accept comment "insula"',
    ]
    ours: list[object] = [{"rule": {"handle": handle, "comment": "insula"}} for handle in (7, 8)]
    assert foreign_rules.opening(_FORWARD, _listing(theirs, *ours)) == ""
    half = foreign_rules.opening(_FORWARD, _listing(theirs, ours[0])).splitlines()
    assert half == ["delete rule ip filter FORWARD handle 7", *first.splitlines()]
    both = "delete rule ip filter FORWARD handle 7\ndelete rule ip filter FORWARD handle 8\n"
    assert foreign_rules.closing(_FORWARD, _listing(theirs, *ours)) == both
    assert foreign_rules.closing(_FORWARD, _listing(theirs)) == ""


async def test_without_root_there_is_the_other_way() -> None:
    assert (await routed_check(is_root=False)).verdict == "note"
