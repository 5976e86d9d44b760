"""Templates: rules to begin with. There are two, by the names that theirs have."""

from __future__ import annotations

from typing import Any

from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode.dialect import DIALECT, page
from insula.frontends.dialects.records import unknown

_PLACE = "/networking/firewalls/templates"
_EVERYBODY = {"ipv4": ["0.0.0.0/0"], "ipv6": ["::/0"]}
_INSIDE = {"ipv4": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"], "ipv6": ["fc00::/7"]}


def _rule(label: str, protocol: str, addresses: dict[str, list[str]], ports: str = "") -> dict[str, Any]:
    rule = {"action": "ACCEPT", "protocol": protocol, "addresses": addresses, "label": label}
    return rule | ({"ports": ports} if ports else {})


_REACHED = [_rule("accept-inbound-ssh", "TCP", _EVERYBODY, "22"), _rule("accept-inbound-icmp", "ICMP", _EVERYBODY)]
_NEIGHBOURS = [
    _rule("accept-inbound-tcp-inside", "TCP", _INSIDE, "1-65535"),
    _rule("accept-inbound-udp-inside", "UDP", _INSIDE, "1-65535"),
]
_TEMPLATES = {
    slug: {
        "slug": slug,
        "rules": {"inbound": inbound, "inbound_policy": "DROP", "outbound": [], "outbound_policy": "ACCEPT"},
    }
    for slug, inbound in (("public", _REACHED), ("vpc", [*_REACHED, *_NEIGHBOURS]))
}


@DIALECT.operation("GET", _PLACE, "firewalls.templates-list")
async def list_templates(ask: Ask) -> Answer:
    return page(ask, list(_TEMPLATES.values()))


@DIALECT.operation("GET", f"{_PLACE}/{{slug}}", "firewalls.template-view")
async def get_template(ask: Ask) -> Answer:
    if ask.path["slug"] not in _TEMPLATES:
        raise unknown("firewall template", ask.path["slug"])
    return Answer(_TEMPLATES[ask.path["slug"]])
