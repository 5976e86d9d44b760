"""Others' chains on this host that drop what they are not told to forward: Docker's, ufw's and firewalld's.

A packet has to be accepted by every chain, so in theirs a rule of ours lets through what our own chain has let through
before. It comes last in the chains of iptables, after everything that their owners have decided, and first in
firewalld's, which ends with a rejection. Nothing else of theirs is touched, and ours goes with our last network. Pure
functions of what nft prints as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from insula.node.network.host_rules import DEVICES
from insula.node.network.rules import table as tables

LIST_CHAINS = "list chains\n"
_COMMENT = "insula"
_HOW = {("ip", "filter", "FORWARD"): "add", ("ip6", "filter", "FORWARD"): "add"}
_HOW |= {("inet", "firewalld", "filter_FORWARD"): "insert"}

ChainName = tuple[str, str, str]


def closed_chains(listing: str) -> list[ChainName]:
    """Family, table and name of foreign chains that do not forward what they are not told to; from `list chains`."""
    return [name for name, chain in _foreign(listing) if chain.get("policy") == "drop" or name[1] == "firewalld"]


def is_known(chain: ChainName) -> bool:
    """Whether we know how to have our networks pass there."""
    return chain in _HOW


def list_rules(chain: ChainName) -> str:
    """The command whose answer the other functions take."""
    return f"list chain {' '.join(chain)}\n"


def opening(chain: ChainName, rules: str) -> str:
    """What lets our networks pass; empty when that is there."""
    if len(list(_ours(rules))) == len(_MATCHES):
        return ""
    away = "".join(f"{line}\n" for line in closing(chain, rules).splitlines())
    verb = f"{_HOW[chain]} rule {' '.join(chain)}"
    return away + "".join(f'{verb} {match} "{DEVICES}*" counter accept comment "{_COMMENT}"\n' for match in _MATCHES)


_MATCHES = ("iifname", "oifname")


def closing(chain: ChainName, rules: str) -> str:
    """What takes our rules away; empty when there are none."""
    return "".join(f"delete rule {' '.join(chain)} handle {handle}\n" for handle in _ours(rules))


def _ours(rules: str) -> Iterator[int]:
    for item in msgspec.json.decode(rules)["nftables"]:
        if "rule" in item and item["rule"].get("comment") == _COMMENT:
            yield int(item["rule"]["handle"])


def _foreign(listing: str) -> Iterator[tuple[ChainName, dict[str, Any]]]:
    for item in msgspec.json.decode(listing)["nftables"]:
        chain = item.get("chain", {})
        if chain.get("hook") == "forward" and chain.get("type") == "filter" and chain["table"] != tables.NAME:
            yield (chain["family"], chain["table"], chain["name"]), chain
