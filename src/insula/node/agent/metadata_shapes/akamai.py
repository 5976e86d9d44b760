"""Akamai's metadata, as Linodes ask for it, and what their machines say of themselves.

Sources: techdocs.akamai.com/cloud-computing/docs/metadata-service-api, linode/go-metadata, cloud-init's Akamai data
source. Everything needs a token that was asked for with PUT, so that nobody who can merely make a guest's program fetch
an address learns anything.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from insula.node.agent.metadata_shapes.ask import READ_ONLY, Answer, Ask
from insula.node.agent.metadata_shapes.subject import Card, Subject, digits_of
from insula.node.agent.metadata_shapes.tokens import Tokens, lifetime_of
from insula.node.hypervisor.driver import Plate
from insula.protocol.node import InstanceSpec

_JSON = "application/json"
_LIFETIME, _TOKEN = "metadata-token-expiry-seconds", "metadata-token"
_PURPOSE = "akamai"
_MOST_S = 24 * 3600
_REGION, _A_REGION = "us-east", re.compile(r"[a-z]{2}-[a-z]+")  # where nobody said where it is in these words
_PATHS = ("/v1/instance", "/v1/network", "/v1/ssh-keys", "/v1/user-data")
_NO_LIFETIME = Answer(f"Send Metadata-Token-Expiry-Seconds: 1 to {_MOST_S}\n".encode(), 400)
_NO_TOKEN = Answer(b"Send a Metadata-Token that PUT /v1/token gave\n", 401)


def plate(spec: InstanceSpec) -> Plate:
    # The flags on the board's plate tell cloud-init not to wait for metadata at an IPv6 address first.
    return Plate("Akamai", str(spec.number), board_serial="v6=0")


def answer(ask: Ask, subject: Subject, tokens: Tokens) -> Answer | None:
    """None for what is not of this form."""
    if ask.path == "/v1/token":
        return _token(ask, subject, tokens)
    if ask.path not in _PATHS:
        return None
    if ask.method != "GET":
        return READ_ONLY
    if not tokens.left_s(ask.headers.get(_TOKEN, ""), subject.spec.id, _PURPOSE):
        return _NO_TOKEN
    if ask.path == "/v1/user-data":
        return Answer(base64.b64encode(subject.spec.user_data.encode()))
    tell = {"/v1/instance": instance, "/v1/network": network, "/v1/ssh-keys": ssh_keys}[ask.path]
    told = tell(subject)
    if _JSON in ask.headers.get("accept", ""):
        return Answer(json.dumps(told).encode(), content_type=_JSON)
    return Answer("".join(f"{name}: {value}\n" for name, value in _lines("", told)).encode())


def _token(ask: Ask, subject: Subject, tokens: Tokens) -> Answer:
    if ask.method != "PUT":
        return Answer(b"Tokens are asked for with PUT\n", 405)
    lifetime_s = lifetime_of(ask.headers.get(_LIFETIME, ""), _MOST_S)
    if not lifetime_s:
        return _NO_LIFETIME
    token = tokens.issue(subject.spec.id, _PURPOSE, lifetime_s)
    if _JSON in ask.headers.get("accept", ""):
        return Answer(json.dumps([token]).encode(), content_type=_JSON)
    return Answer(token.encode())


def instance(subject: Subject) -> dict[str, Any]:
    """What it is. Its transfer is not counted against anything, and who holds it is nobody's business here."""
    spec = subject.spec
    return {
        "id": spec.number or None,  # it has not been started since there are such numbers
        "host_uuid": digits_of(spec.id, 32),
        "label": spec.name,
        "region": spec.region if _A_REGION.fullmatch(spec.region) else _REGION,
        "type": subject.size,
        "tags": list(subject.tags),
        "specs": {
            "vcpus": spec.resources.vcpus,
            "memory": spec.resources.memory_mib,
            "disk": spec.resources.disk_gib * 1024,
            "transfer": 0,
            "gpus": 0,
        },
        "backups": {"enabled": False, "status": None},
        "image": {"id": spec.image, "label": spec.image},
        "account_euuid": "",
    }


def network(subject: Subject) -> dict[str, Any]:
    """Its cards and addresses, each with the length of its prefix."""
    cards = subject.cards
    first = cards[0] if cards else None
    return {
        "interfaces": [_interface(card, is_first=card is first) for card in cards],
        "ipv4": {
            "public": [f"{card.public4}/32" for card in cards if card.public4],
            "private": [f"{card.ipv4}/32" for card in cards if card.ipv4],
            "shared": [],
        },
        "ipv6": {
            "slaac": f"{first.ipv6}/128" if first is not None and first.ipv6 else None,
            "link_local": None,
            "ranges": [f"{card.public6}/128" for card in cards if card.public6],
            "shared_ranges": [],
        },
    }


def _interface(card: Card, *, is_first: bool) -> dict[str, Any]:
    if is_first:
        return {"label": "", "purpose": "public", "ipam_address": None}
    length = card.network.ipv4.partition("/")[2]
    return {
        "label": card.network.id,
        "purpose": "vpc",
        "ipam_address": f"{card.ipv4}/{length}" if card.ipv4 else None,
    }


def ssh_keys(subject: Subject) -> dict[str, Any]:
    return {"users": {"root": list(subject.spec.ssh_keys)}}


def _lines(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A nested value as lines; each member of a list has one of its own."""
    if isinstance(value, dict):
        for part, inner in value.items():
            yield from _lines(f"{name}.{part}" if name else part, inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _lines(f"{name}.{number}" if isinstance(inner, dict) else name, inner)
    else:
        yield name, "" if value is None else value
