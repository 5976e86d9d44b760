"""The shapes of `/v1/addresses` and `/v1/address-pools`; see :mod:`schemas`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from insula.control.actions.addresses import AddressWish, PoolWish
from insula.frontends.api.schemas import Name, Wish

Reference = Annotated[str, Meta(max_length=63)]


class CreatePool(Wish, frozen=True):
    """Addresses that lead to a host: a prefix, a range or a single one. Without `node` it is the first host."""

    name: Name
    addresses: Annotated[str, Meta(min_length=2, max_length=91, examples=["203.0.113.0/28"])]
    node: Annotated[str, Meta(max_length=64)] = ""

    def to_wish(self) -> PoolWish:
        return PoolWish(self.name, self.addresses, self.node)


class ReserveAddress(Wish, frozen=True):
    """The address to reserve, or the pool that it shall be from; otherwise it is of any pool of the version."""

    address: Annotated[
        str,
        Meta(max_length=45, extra_json_schema={"anyOf": [{"const": ""}, {"format": "ipv4"}, {"format": "ipv6"}]}),
    ] = ""
    pool: Reference = ""
    version: Literal[4, 6] = 4
    instance: Reference = ""

    def to_wish(self) -> AddressWish:
        return AddressWish(self.address, self.pool, self.version, self.instance)


class AssignAddress(Wish, frozen=True):
    """The instance that it shall lead to, by name or id."""

    instance: Annotated[str, Meta(min_length=1, max_length=63)]
