"""EC2's metadata, as Lightsail's instances have it too, and what their machines say of themselves.

Sources: the Amazon EC2 User Guide on instance metadata and on identifying instances, cloud-init's Ec2 data source. Both
ways of asking are served: with a token that was asked for with PUT (IMDSv2) and without one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from insula.node.agent.metadata_shapes.ask import READ_ONLY, Answer, Ask, listed, read
from insula.node.agent.metadata_shapes.subject import Card, Subject, digits_of
from insula.node.agent.metadata_shapes.tokens import Tokens, lifetime_of
from insula.node.hypervisor.driver import Plate
from insula.protocol.node import InstanceSpec

VERSIONS = ("1.0", "2009-04-04", "2016-09-02", "2018-09-24", "2020-10-27", "2021-03-23", "latest")
_VERSION = re.compile(rf"/({'|'.join(map(re.escape, VERSIONS))})(/.*|)")
_TOKEN, _LIFETIME = "x-aws-ec2-metadata-token", "x-aws-ec2-metadata-token-ttl-seconds"
_PURPOSE = "ec2"
_MOST_S = 21600
_ZONE, _A_ZONE = "us-east-1a", re.compile(r"[a-z]{2}-[a-z]+-\d[a-z]")  # where nobody said where it is in these words
_ID_DIGITS = 17


def plate(spec: InstanceSpec) -> Plate:
    # cloud-init and Amazon's own programs know the platform by this beginning, in the UUID and in the serial number.
    return Plate("Amazon EC2", product="Insula", uuid_prefix="ec2")


def answer(ask: Ask, subject: Subject, tokens: Tokens) -> Answer | None:
    """None for what is not of this form."""
    found = _VERSION.fullmatch(ask.path)
    if found is None:
        return None
    if ask.path == "/latest/api/token":
        return _token(ask, subject, tokens)
    if ask.method != "GET":
        return READ_ONLY
    headers: Mapping[str, str] = {}
    if _TOKEN in ask.headers:
        left_s = tokens.left_s(ask.headers[_TOKEN], subject.spec.id, _PURPOSE)
        if not left_s:
            return Answer(b"The token is no good any more, or never was\n", 401)
        headers = {"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": str(left_s)}
    told = _told(found[2], subject)
    return Answer(told.body, told.status, told.content_type, headers) if told is not None else None


def _token(ask: Ask, subject: Subject, tokens: Tokens) -> Answer:
    if ask.method != "PUT":
        return Answer(b"Tokens are asked for with PUT\n", 405)
    if "x-forwarded-for" in ask.headers:  # a proxy in the guest may be made to ask by strangers
        return Answer(b"Tokens are not given through proxies\n", 403)
    lifetime_s = lifetime_of(ask.headers.get(_LIFETIME, ""), _MOST_S)
    if not lifetime_s:
        return Answer(f"Send X-aws-ec2-metadata-token-ttl-seconds: 1 to {_MOST_S}\n".encode(), 400)
    token = tokens.issue(subject.spec.id, _PURPOSE, lifetime_s)
    return Answer(token.encode(), headers={"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": str(lifetime_s)})


def _told(path: str, subject: Subject) -> Answer | None:
    if path.strip("/") == "user-data":
        data = subject.spec.user_data.encode()
        # Without any there is no such thing, which programs tell from empty ones.
        return Answer(data, content_type="application/octet-stream") if data else None
    if path.strip("/") == "meta-data/public-keys":
        names = [f"{number}={_key_name(key, number)}" for number, key in enumerate(subject.spec.ssh_keys)]
        return Answer("\n".join(names).encode()) if names else None
    tree = files(subject)
    if not path.strip("/"):
        return Answer("\n".join([*listed(tree, ""), *(["user-data"] if subject.spec.user_data else [])]).encode())
    return read(tree, path)


def _key_name(key: str, number: int) -> str:
    """Its comment, as far as that is a word."""
    words = key.split()
    return words[2] if len(words) == 3 and re.fullmatch(r"[\w.@+-]{1,255}", words[2]) else f"key-{number}"


def instance_id(spec: InstanceSpec) -> str:
    """In the form that programs check."""
    return f"i-{digits_of(spec.id, _ID_DIGITS)}"


def files(subject: Subject) -> Mapping[str, bytes]:
    """Everything but user-data, as a tree of small files."""
    texts = {f"meta-data/{name}": text for name, text in sorted(_metadata(subject).items())}
    texts["dynamic/instance-identity/document"] = json.dumps(_identity(subject), indent=2)
    return {name: text.encode() for name, text in texts.items()}


def _metadata(subject: Subject) -> dict[str, str]:
    spec, cards = subject.spec, subject.cards
    zone = _zone(spec)
    texts = {
        "ami-id": f"ami-{digits_of(spec.image, _ID_DIGITS)}",
        "ami-launch-index": "0",
        "hostname": spec.hostname,
        "instance-action": "none",
        "instance-id": instance_id(spec),
        "instance-life-cycle": "on-demand",
        "instance-type": subject.size,
        "local-hostname": spec.hostname,
        "placement/availability-zone": zone,
        "placement/region": zone[:-1],
        "reservation-id": f"r-{digits_of(spec.id, _ID_DIGITS)}",
        "security-groups": "default",
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
    }
    texts |= {f"public-keys/{number}/openssh-key": key for number, key in enumerate(spec.ssh_keys)}
    if cards:
        first = {"mac": cards[0].mac, "local-ipv4": cards[0].ipv4, "ipv6": cards[0].ipv6}
        texts |= {name: text for name, text in (first | {"public-ipv4": cards[0].public4}).items() if text}
    for number, card in enumerate(cards):
        place = f"network/interfaces/macs/{card.mac}"
        texts |= {f"{place}/{name}": text for name, text in _card(card, number, spec).items() if text}
    return texts


def _card(card: Card, number: int, spec: InstanceSpec) -> dict[str, str]:
    return {
        "device-number": str(number),
        "interface-id": f"eni-{digits_of(card.mac, _ID_DIGITS)}",
        "ipv6s": card.ipv6,
        "local-hostname": spec.hostname,
        "local-ipv4s": card.ipv4,
        "mac": card.mac,
        "public-ipv4s": card.public4,
        "subnet-id": f"subnet-{digits_of(card.network.id, _ID_DIGITS)}",
        "subnet-ipv4-cidr-block": card.network.ipv4,
        "subnet-ipv6-cidr-blocks": card.network.ipv6,
        "vpc-id": f"vpc-{digits_of(spec.project, _ID_DIGITS)}",
        "vpc-ipv4-cidr-block": card.network.ipv4,
    }


def _identity(subject: Subject) -> dict[str, object]:
    spec = subject.spec
    zone = _zone(spec)
    return {
        "accountId": "000000000000",
        "architecture": "x86_64",
        "availabilityZone": zone,
        "imageId": f"ami-{digits_of(spec.image, _ID_DIGITS)}",
        "instanceId": instance_id(spec),
        "instanceType": subject.size,
        "privateIp": subject.cards[0].ipv4 if subject.cards else None,
        "region": zone[:-1],
        "version": "2017-09-30",
    }


def _zone(spec: InstanceSpec) -> str:
    return spec.region if _A_ZONE.fullmatch(spec.region) else _ZONE
