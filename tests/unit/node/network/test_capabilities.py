"""What the doctor makes of the host's own packet filter."""

from __future__ import annotations

from insula.node.network.capabilities import closed_by, routed_check


def test_chains_that_drop_what_is_forwarded_are_told_unless_they_are_ours() -> None:
    listing = """{"nftables": [{"metainfo": {}}, {"table": {"family": "ip", "name": "filter"}},
      {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward", "policy": "drop"}},
      {"chain": {"family": "ip", "table": "filter", "name": "INPUT", "hook": "input", "policy": "drop"}},
      {"chain": {"family": "ip", "table": "filter", "name": "DOCKER"}},
      {"chain": {"family": "inet", "table": "insula", "name": "forward", "hook": "forward", "policy": "drop"}}]}"""
    assert closed_by(listing) == ["ip filter FORWARD"]


async def test_without_root_there_is_the_other_way() -> None:
    assert (await routed_check(is_root=False)).verdict == "note"
