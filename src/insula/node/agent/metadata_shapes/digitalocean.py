"""DigitalOcean's metadata, as droplets ask for it, and what their machines say of themselves.

Sources: docs.digitalocean.com/reference/api/metadata, cloud-init's DigitalOcean data source. That one asks before its
guest has an address, takes the addresses of its cards from here and sets them, and refuses to go on without any.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from insula.node.agent.metadata_shapes.ask import READ_ONLY, Answer, Ask, read
from insula.node.agent.metadata_shapes.subject import Card, Subject
from insula.node.agent.metadata_shapes.tokens import Tokens
from insula.node.hypervisor.driver import Plate
from insula.node.network.layout import ROUTER_LINK_LOCAL
from insula.protocol.node import InstanceSpec

_ROOT = "metadata/v1"
_REGION, _A_REGION = "nyc3", re.compile(r"[a-z]{3}\d")  # where nobody said where it is in these words


def plate(spec: InstanceSpec) -> Plate:
    return Plate("DigitalOcean", str(spec.number), "Droplet")


def document(subject: Subject) -> dict[str, Any]:
    """Everything as one value."""
    spec = subject.spec
    public4 = next((card.public4 for card in subject.cards if card.public4), "")
    kept = {"ipv4": {"active": True, "ip_address": public4} if public4 else {"active": False}}
    told: dict[str, Any] = {
        "hostname": spec.hostname,
        "vendor_data": "",
        "public_keys": list(spec.ssh_keys),
        "region": spec.region if _A_REGION.fullmatch(spec.region) else _REGION,
        "interfaces": _interfaces(subject.cards),
        "floating_ip": kept,
        "reserved_ip": kept,
        "dns": {"nameservers": list(subject.name_servers)},
        "tags": list(subject.tags),
        "features": {"dhcp_enabled": True},
    }
    if spec.number:  # without one it has not been started since there are such numbers
        told["droplet_id"] = spec.number
    if spec.user_data:
        told["user_data"] = spec.user_data
    return told


def _interfaces(cards: tuple[Card, ...]) -> dict[str, list[dict[str, Any]]]:
    groups = {"public": cards[:1], "private": cards[1:]}
    return {kind: [_interface(card, kind) for card in held] for kind, held in groups.items() if held}


def _interface(card: Card, kind: str) -> dict[str, Any]:
    network = card.network
    told: dict[str, Any] = {"mac": card.mac, "type": kind}
    if card.ipv4:
        mask = str(ipaddress.ip_network(network.ipv4).netmask)
        told["ipv4"] = {"ip_address": card.ipv4, "netmask": mask}
        if network.gateway:
            told["ipv4"]["gateway"] = network.router4
    if card.ipv6:
        # Nobody but the router is on a guest's own segment, so the prefix is no part of that.
        told["ipv6"] = {"ip_address": card.ipv6, "cidr": 128}
        if network.gateway:
            told["ipv6"]["gateway"] = ROUTER_LINK_LOCAL
    return told


def files(subject: Subject) -> Mapping[str, bytes]:
    """The same as a tree of small files."""
    told = document(subject)
    texts = {
        **({"id": str(told["droplet_id"])} if "droplet_id" in told else {}),
        "hostname": told["hostname"],
        "user-data": subject.spec.user_data,
        "vendor-data": told["vendor_data"],
        "public-keys": "\n".join(told["public_keys"]),
        "region": told["region"],
        **dict(_branches("interfaces", told["interfaces"])),
        "dns/nameservers": "\n".join(told["dns"]["nameservers"]),
        **dict(_branches("floating_ip", told["floating_ip"])),
        **dict(_branches("reserved_ip", told["reserved_ip"])),
        "features/dhcp_enabled": "true",
    }
    return {f"{_ROOT}/{name}": text.encode() for name, text in texts.items()}


def _branches(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """A nested value as files; addresses have a shorter name there."""
    if isinstance(value, dict):
        for part, inner in value.items():
            yield from _branches(f"{name}/{'address' if part == 'ip_address' else part}", inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _branches(f"{name}/{number}", inner)
    else:
        yield name, json.dumps(value) if isinstance(value, bool) else str(value)


def answer(ask: Ask, subject: Subject, tokens: Tokens) -> Answer | None:
    """None for what is not of this form."""
    if not ask.path.startswith("/metadata/"):
        return None
    if ask.method != "GET":
        return READ_ONLY
    if ask.path == f"/{_ROOT}.json":
        return Answer(json.dumps(document(subject)).encode(), content_type="application/json")
    if ask.path.strip("/") == f"{_ROOT}/tags":
        return Answer("\n".join(subject.tags).encode())
    found = read(files(subject), ask.path)
    if found is not None and ask.path.strip("/") == _ROOT:
        return Answer(found.body + b"\ntags/")
    return found
