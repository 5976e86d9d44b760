"""The shapes of `/v1/networks`; see :mod:`schemas`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from insula.control.actions.networks import NetworkWish
from insula.frontends.api.schemas import Name, Wish

Prefix = Annotated[
    str, Meta(max_length=43, description="A prefix; left out, one is chosen; `none` for none", examples=["10.7.0.0/24"])
]


class CreateNetwork(Wish, frozen=True):
    """A new network, whose prefixes no other one of the project has. Without `gateway` it leads nowhere outside."""

    name: Name
    ipv4: Prefix = ""
    ipv6: Prefix = ""
    gateway: bool = True

    def to_wish(self) -> NetworkWish:
        return NetworkWish(self.name, self.ipv4, self.ipv6, self.gateway)


class ChangeNetwork(Wish, frozen=True):
    """What is left out stays. Without `gateway` it leads nowhere outside."""

    name: Name | None = None
    gateway: bool | None = None


class OtherNetwork(Wish, frozen=True):
    """Another network, by name or id."""

    network: Annotated[str, Meta(min_length=1, max_length=63)]


class JoinView(Struct, frozen=True):
    """Two networks that reach each other, by id."""

    one: str
    other: str
